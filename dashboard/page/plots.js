// Plots, in the colours of the page. A plot draws inside an element of its own, which morphing leaves alone.
import uPlot from './vendor/uplot.js'
import { byId, h } from './dom.js'

const plots = new Map()

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

/** frame is the element that a plot draws in, with words for those who don't see it. */
export const frame = (id, words) => h('div', { class: 'plot', id, role: 'img', 'aria-label': words, 'data-own': 'plot', 'data-key': id })

/** draw makes or renews the plot in a frame. make(color) returns uPlot's options without a size. */
export function draw(id, data, words, make) {
  const place = byId(id)
  if (!place) return
  place.setAttribute('aria-label', words)
  const width = Math.floor(place.clientWidth)
  const height = Math.floor(place.clientHeight)
  if (width < 40) return
  const before = plots.get(id)
  if (before && before.place === place && before.words === theme()) {
    if (before.plot.width !== width || before.plot.height !== height) before.plot.setSize({ width, height })
    before.extra = data.extra
    before.plot.setData(data.series)
    return
  }
  before?.plot.destroy()
  const kept = { place, words: theme(), extra: data.extra }
  kept.plot = new uPlot({ width, height, legend: { show: false }, cursor: { show: false }, ...make(color, () => kept.extra) }, data.series, place)
  plots.set(id, kept)
}

const theme = () => color('--ink') + color('--panel')

/** axis is an axis in the page's colours. */
export const axis = (more) => ({ stroke: color('--quiet'), grid: { stroke: color('--line'), width: 1 }, ticks: { show: false }, font: '12px system-ui, sans-serif', ...more })

export const bars = () => uPlot.paths.bars({ size: [0.86, 60], align: 1 })
export const steps = () => uPlot.paths.stepped({ align: 1 })
