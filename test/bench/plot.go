package main

import (
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// barPlot is a picture of one figure.
type barPlot struct {
	name  string // of the file
	title string
	value func(f figures) float64
}

// plots are what people compare first.
func plots() []barPlot {
	return []barPlot{
		{"included", "Operations included per second", func(f figures) float64 { return f.IncludedPerS }},
		{"inclusion", "Inclusion latency p99, seconds", func(f figures) float64 { return f.InclusionP99S }},
		{"accept", "Accept latency p99, milliseconds", func(f figures) float64 { return f.AcceptP99MS }},
		{"cpu", "Bundler CPU per operation, milliseconds", func(f figures) float64 { return f.CPUPerOpMS }},
		{"memory", "Peak memory, MB", func(f figures) float64 { return f.RSSMB }},
		{"requests", "Node requests per operation", func(f figures) float64 { return f.RequestsPerOp }},
	}
}

// plotAll draws the figures: groups of bars by scenario and signers, a bar for each contender.
func plotAll(dir, prefix string, all []figures) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range plots() {
		if err := plotBars(filepath.Join(dir, prefix+"-"+p.name+".svg"), p, all); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// palette is readable on light and on dark.
func palette() []color.Color {
	return []color.Color{
		color.NRGBA{R: 0x2f, G: 0x81, B: 0xf7, A: 0xff},
		color.NRGBA{R: 0x9a, G: 0xa4, B: 0xb0, A: 0xff},
		color.NRGBA{R: 0xd2, G: 0x99, B: 0x22, A: 0xff},
		color.NRGBA{R: 0x3f, G: 0xb9, B: 0x50, A: 0xff},
		color.NRGBA{R: 0xf8, G: 0x51, B: 0x49, A: 0xff},
		color.NRGBA{R: 0xa3, G: 0x71, B: 0xf7, A: 0xff},
	}
}

func plotBars(path string, what barPlot, all []figures) error {
	type group struct {
		title   string
		signers int
	}
	of := func(f figures) group { return group{f.title(), f.Signers} }
	groups := distinct(all, of)
	contenders := distinct(all, func(f figures) string { return f.Bundler })
	const width = 16 // points
	p := plot.New()
	p.Title.Text = what.title
	p.Legend.Top = true
	p.Y.Min = 0
	labels := make([]string, len(groups))
	for i, g := range groups {
		labels[i] = fmt.Sprintf("%s, %d", g.title, g.signers)
	}
	for n, name := range contenders {
		values := make(plotter.Values, len(groups))
		for i, g := range groups {
			for _, f := range all {
				if f.Bundler == name && of(f) == g {
					values[i] = what.value(f)
				}
			}
		}
		bars, err := plotter.NewBarChart(values, vg.Points(width))
		if err != nil {
			return err
		}
		bars.LineStyle.Width = 0
		bars.Color = palette()[n%len(palette())]
		bars.Offset = vg.Points(width * (float64(n) - float64(len(contenders)-1)/2))
		p.Add(bars)
		p.Legend.Add(name, bars)
	}
	p.NominalX(labels...)
	const margin = 0.6 // of a group, for the labels at the ends
	p.X.Min, p.X.Max = -margin, float64(len(groups))-1+margin
	p.Y.Max *= 1.25 // for the legend
	return p.Save(vg.Length(len(groups))*vg.Inch*1.4+vg.Inch, 3*vg.Inch, path)
}

// picture is a plot that was drawn.
type picture struct{ title, file string }

// plotCurves draws a picture for each size: how many times its first value each cost becomes, as the size grows, on
// logarithmic scales, beside a line for what is linear.
func plotCurves(dir, prefix string, curves []curve) (drawn []picture, err error) {
	for _, size := range distinct(curves, func(c curve) string { return c.size }) {
		name := picture{"Growth by " + size, prefix + "-" + strings.ReplaceAll(strings.ReplaceAll(size, ",", ""), " ", "-") + ".svg"}
		p := plot.New()
		p.Title.Text = name.title
		p.X.Label.Text, p.Y.Label.Text = "times the smallest size", "times the smallest cost"
		p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
		p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
		p.Legend.Left, p.Legend.Top = true, true
		most, n := 1.0, 0
		for _, c := range curves {
			if c.size != size || strings.HasSuffix(c.name, allocations) {
				continue
			}
			var points plotter.XYs
			for _, at := range c.points {
				if first := c.points[0]; first.cost > 0 && at.cost > 0 {
					points = append(points, plotter.XY{X: at.size / first.size, Y: at.cost / first.cost})
					most = max(most, at.size/first.size)
				}
			}
			if len(points) < 2 {
				continue
			}
			line, marks, err := plotter.NewLinePoints(points)
			if err != nil {
				return nil, err
			}
			line.Color, marks.Color = palette()[n%len(palette())], palette()[n%len(palette())]
			p.Add(line, marks)
			p.Legend.Add(c.name, line)
			n++
		}
		if most == 1 {
			continue
		}
		linear, err := plotter.NewLine(plotter.XYs{{X: 1, Y: 1}, {X: most, Y: most}})
		if err != nil {
			return nil, err
		}
		linear.Dashes = []vg.Length{vg.Points(4), vg.Points(4)}
		p.Add(linear)
		p.Legend.Add("linear", linear)
		p.X.Max, p.Y.Max = p.X.Max*1.2, p.Y.Max*30 // for a label, and the legend
		if err := p.Save(7*vg.Inch, 4*vg.Inch, filepath.Join(dir, name.file)); err != nil {
			return nil, err
		}
		drawn = append(drawn, name)
	}
	return drawn, nil
}
