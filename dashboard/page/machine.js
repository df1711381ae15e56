// The state machine, drawn from its own table: the states and arrows come from the bundler.
import { h } from './dom.js'
import { tokenOf } from './senders.js'

const box = { width: 176, height: 104 }
const gapX = 66
const gapY = 96
const places = { Building: [0, 0], Pending: [1, 0], Cancelling: [0, 1], CancelPending: [1, 1] }
const shown = 10 // tokens in one box

/** layout gives every state a place: the four of the machine at the corners, all others in thin rows below. */
function layout(states) {
  const at = new Map()
  let others = 0
  for (const state of states) {
    const place = places[state]
    if (place) at.set(state, { x: 8 + place[0] * (box.width + gapX), y: 8 + place[1] * (box.height + gapY), width: box.width, height: box.height })
    else at.set(state, { x: 8, y: 8 + 2 * box.height + gapY + 26 + 58 * others++, width: 2 * box.width + gapX, height: 46, narrow: true })
  }
  return at
}

/** common are the states that every other one leads to for the same causes: a sentence says that better than arrows. */
function common(machine) {
  const found = new Map()
  for (const state of machine.states) {
    const into = machine.arrows.filter((a) => a.to === state && a.from !== state)
    const same = into.length > 1 && into.every((a) => a.causes.join() === into[0].causes.join())
    const all = machine.states.every((from) => from === state || into.some((a) => a.from === from))
    if (same && all) found.set(state, into[0].causes)
  }
  return found
}

/** edge is the line of an arrow: out of the side of one box into the side of another, to the right of its way back. */
function edge(from, to) {
  const center = (b) => [b.x + b.width / 2, b.y + b.height / 2]
  const [fx, fy] = center(from)
  const [tx, ty] = center(to)
  const shift = 13
  const length = Math.hypot(tx - fx, ty - fy)
  const [nx, ny] = [-(ty - fy) / length, (tx - fx) / length]
  const start = leave(from, [fx + nx * shift, fy + ny * shift], [tx - fx, ty - fy])
  const end = leave(to, [tx + nx * shift, ty + ny * shift], [fx - tx, fy - ty])
  return `M${start[0].toFixed(1)} ${start[1].toFixed(1)}L${end[0].toFixed(1)} ${end[1].toFixed(1)}`
}

/** leave walks from a point inside a box in a direction until it is at the edge. */
function leave(b, [x, y], [dx, dy]) {
  const steps = []
  if (dx !== 0) steps.push(((dx > 0 ? b.x + b.width + 3 : b.x - 3) - x) / dx)
  if (dy !== 0) steps.push(((dy > 0 ? b.y + b.height + 3 : b.y - 3) - y) / dy)
  const step = Math.min(...steps.filter((s) => s >= 0))
  return [x + dx * step, y + dy * step]
}

export function drawMachine(machine, senders, selected) {
  const at = layout(machine.states)
  const captions = common(machine)
  const bottom = Math.max(...[...at.values()].map((b) => b.y + b.height)) + 8
  const width = 16 + 2 * box.width + gapX
  const chosen = senders.find((s) => s.signer === selected)
  const last = chosen && machine.arrows.find((a) => a.to === chosen.state && a.from !== a.to && a.causes.includes(chosen.cause))
  const arrows = machine.arrows.filter((a) => a.from !== a.to && !captions.has(a.to))
  const isLast = (a) => a === last
  const inState = (state) => senders.filter((s) => s.state === state)
  const spoken = machine.states.map((s) => [s, inState(s).length]).filter(([, n]) => n > 0).map(([s, n]) => `${n} in ${s}`)
  return h('svg', { class: 'machine', viewBox: `0 0 ${width} ${bottom}`, role: 'group', 'aria-label': `State machine: ${spoken.join(', ') || 'no sender'}` },
    h('defs', null, ['tip', 'tip-last'].map((id) => h('marker', { id, viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto-start-reverse', class: id }, h('path', { d: 'M0 0.6 8 4 0 7.4Z' })))),
    [...arrows.filter((a) => !isLast(a)), ...arrows.filter(isLast)].map((a) =>
      h('path', { class: isLast(a) ? 'arrow last' : 'arrow', d: edge(at.get(a.from), at.get(a.to)), 'marker-end': `url(#${isLast(a) ? 'tip-last' : 'tip'})` },
        h('title', null, `${a.from} to ${a.to}: ${a.causes.join(', ')}`))),
    machine.states.map((state) => stateBox(state, at.get(state), inState(state), senders, selected, captions.get(state))))
}

function stateBox(state, place, here, senders, selected, causes) {
  const most = place.narrow ? 6 : shown
  const spot = (i) => (place.narrow ? [110 + i * 31, 23] : [26 + (i % 5) * 31, (here.length > 5 ? 51 : 66) + Math.floor(i / 5) * 31])
  return h('g', { class: `state s-${state}${here.length ? ' busy' : ''}${place.narrow ? ' narrow' : ''}`, transform: `translate(${place.x} ${place.y})` },
    h('rect', { width: place.width, height: place.height, rx: 12 }),
    h('text', { class: 'state-name', x: 14, y: place.narrow ? 28 : 27 }, state),
    here.length > 0 && h('text', { class: 'state-count', x: place.width - 14, y: place.narrow ? 28 : 27, 'text-anchor': 'end' }, here.length),
    causes && here.length === 0 && h('text', { class: 'state-note', x: place.width - 14, y: 28, 'text-anchor': 'end' }, `from any, on ${causes.join(', ')}`),
    here.slice(0, most).map((sender, i) => token(sender, ...spot(i), senders, selected)),
    here.length > most && h('text', { class: 'state-note', x: place.width - 40, y: place.narrow ? 28 : 27, 'text-anchor': 'end' }, `+${here.length - most}`))
}

function token(sender, x, y, senders, selected) {
  const name = tokenOf(sender, senders)
  const label = `Sender ${name} in ${sender.state}, ${sender.cause}${sender.paused ? ', paused' : ''}`
  return h('g', { class: `token${sender.signer === selected ? ' chosen' : ''}${sender.paused ? ' paused' : ''}`, transform: `translate(${x} ${y})`, tabindex: 0, role: 'button', 'aria-label': label, 'data-act': 'select', 'data-of': sender.signer, 'data-key': `token-${sender.signer}` },
    h('title', null, label), h('circle', { r: 13 }), h('text', { 'text-anchor': 'middle', y: 5 }, name))
}
