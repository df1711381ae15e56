package main

import (
	"fmt"
	"image/color"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// plotAll draws what people compare first, a picture for each figure: groups of bars by scenario and signers, a bar for each
// contender.
func plotAll(dir string, all []figures) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, p := range map[string]struct {
		title string
		value func(f figures) float64
	}{
		"bench-included.svg":  {"Operations included per second", func(f figures) float64 { return f.IncludedPerS }},
		"bench-inclusion.svg": {"Inclusion latency p99, seconds", func(f figures) float64 { return f.InclusionP99S }},
		"bench-accept.svg":    {"Accept latency p99, milliseconds", func(f figures) float64 { return f.AcceptP99MS }},
		"bench-cpu.svg":       {"Bundler CPU per operation, milliseconds", func(f figures) float64 { return f.CPUPerOpMS }},
		"bench-memory.svg":    {"Peak memory, MB", func(f figures) float64 { return f.RSSMB }},
		"bench-requests.svg":  {"Node requests per operation", func(f figures) float64 { return f.RequestsPerOp }},
	} {
		if err := plotBars(filepath.Join(dir, name), p.title, all, p.value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// palette has a colour for each contender, in their order; readable on light and on dark.
func palette() []color.Color {
	return []color.Color{color.NRGBA{R: 0x2f, G: 0x81, B: 0xf7, A: 0xff}, color.NRGBA{R: 0x9a, G: 0xa4, B: 0xb0, A: 0xff}}
}

func plotBars(path, title string, all []figures, value func(f figures) float64) error {
	type group struct {
		scenario string
		signers  int
	}
	groups := distinct(all, func(f figures) group { return group{f.Scenario, f.Signers} })
	contenders := distinct(all, func(f figures) string { return f.Bundler })
	const width = 16 // points
	p := plot.New()
	p.Title.Text = title
	p.Legend.Top = true
	p.Y.Min = 0
	labels := make([]string, len(groups))
	for i, g := range groups {
		labels[i] = fmt.Sprintf("%s, %d", g.scenario, g.signers)
	}
	for n, name := range contenders {
		values := make(plotter.Values, len(groups))
		for i, g := range groups {
			for _, f := range all {
				if f.Bundler == name && f.Scenario == g.scenario && f.Signers == g.signers {
					values[i] = value(f)
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
	return p.Save(vg.Length(len(groups))*vg.Inch*1.4+vg.Inch, 3*vg.Inch, path)
}
