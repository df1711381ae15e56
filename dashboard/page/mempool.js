// The mempool: how much waits, what it pays, for how long it waits and why it does not go.
import { h } from './dom.js'
import { bytes, count, gwei, lasting, plural, short } from './format.js'
import { axis, bars, draw, frame } from './plots.js'
import { sendersOf, tokenBadge } from './senders.js'

const bestShown = 8

const versionOf = (docs, address) => docs.get('chain')?.entryPoints.find((e) => e.address.toLowerCase() === address.toLowerCase())?.version

export function renderMempool(docs, operator) {
  const pool = docs.get('mempool')
  if (!pool) return [h('p', { class: 'empty' }, 'Waiting for the bundler.')]
  const senders = sendersOf(docs)
  return [
    h('div', { class: 'tiles' },
      tile('Operations', count(pool.operations), pool.operations === 0 ? 'nothing waits' : bytes(pool.bytes)),
      tile('In a bundle', count(pool.held), 'held by a sender'),
      tile('Pay too little now', count(pool.fees.below), pool.fees.threshold === null ? 'what is asked is not known' : `asked: ${gwei(pool.fees.threshold)} gwei priority`),
      tile('Not valid yet', count(pool.notYetValid), 'their time has not come')),
    h('div', { class: 'thirds' },
      h('div', { class: 'panel two' }, h('h3', null, 'Effective priority fee, gwei'),
        pool.operations === 0 ? h('p', { class: 'empty tall' }, 'The pool is empty. The fees of waiting operations are drawn here, with the least that is asked now.') : [frame('fees', ''), h('p', { class: 'key' }, h('span', { class: 'swatch bar-swatch' }), 'operations', h('span', { class: 'swatch line-swatch' }), pool.fees.threshold === null ? 'what is asked is not known' : `asked now: ${gwei(pool.fees.threshold)} gwei`)]),
      h('div', { class: 'panel' }, h('h3', null, 'Age'), shares(ages(pool), pool.operations, 'No operation waits.')),
      h('div', { class: 'panel' }, h('h3', null, 'By EntryPoint'), shares(entryPoints(docs, pool), pool.operations, 'No operation waits.')),
      h('div', { class: 'panel two' }, h('h3', null, 'Why operations were left out last'), shares(pool.skipped.map((s) => [s.cause, s.count]), pool.operations, 'No waiting operation was left out of a bundle.'))),
    h('div', { class: 'halves' },
      h('div', { class: 'panel' }, h('h3', null, 'Paymasters'), entities(pool.paymasters, 'No waiting operation has a paymaster.', operator)),
      h('div', { class: 'panel' }, h('h3', null, 'Factories'), entities(pool.factories, 'No waiting operation creates its account.', operator))),
    pool.noted.length > 0 && h('div', { class: 'panel' }, h('h3', null, 'Throttled and banned'), entities(pool.noted, '', operator)),
    h('div', { class: 'panel' }, h('h3', null, 'Those that pay most'), best(pool.best.slice(0, bestShown), senders),
      pool.best.length > bestShown && h('details', { class: 'more', 'data-key': 'more-best' }, h('summary', null, `${pool.best.length - bestShown} more`), best(pool.best.slice(bestShown), senders))),
  ]
}

export const tile = (name, value, note, kind) => h('div', { class: `tile ${kind ?? ''}` }, h('span', { class: 'tile-name' }, name), h('span', { class: 'tile-value' }, value), note && h('span', { class: 'tile-note' }, note))

function entryPoints(docs, pool) {
  const counted = new Map((pool.entryPoints ?? []).map((e) => [e.address.toLowerCase(), e.count]))
  const served = (docs.get('chain')?.entryPoints ?? []).map((e) => e.address)
  return served.map((address) => [`v${versionOf(docs, address) ?? '?'} ${short(address)}`, counted.get(address.toLowerCase()) ?? 0])
}

function ages(pool) {
  return pool.ages.map((a, i) => [a.below === 0 ? `over ${lasting(pool.ages[i - 1].below)}` : `under ${lasting(a.below)}`, a.count])
}

function shares(list, all, nothing) {
  if (all === 0 || list.length === 0) return h('p', { class: 'empty' }, nothing)
  return h('ul', { class: 'shares' }, list.map(([name, n]) => h('li', { 'data-key': name }, h('span', { class: 'share-name' }, name), h('span', { class: 'share-count' }, count(n)), h('span', { class: 'share-track', 'aria-hidden': 'true' }, h('span', { class: 'share-fill', share: n / Math.max(all, 1) })))))
}

const standing = { ok: 'good', throttled: 'warn', banned: 'bad' }

function entities(list, nothing, operator) {
  if (list.length === 0) return h('p', { class: 'empty' }, nothing)
  return h('table', { class: 'cards' },
    h('thead', null, h('tr', null, ['Address', 'Waiting', 'Seen', 'Included', 'Reputation'].map((t, i) => h('th', { scope: 'col', class: i > 0 && i < 4 && 'number' }, t)), operator.possible && h('th', { scope: 'col' }, h('span', { class: 'hidden' }, 'Action')))),
    h('tbody', null, list.map((e) => h('tr', { 'data-key': e.address },
      h('th', { scope: 'row' }, h('code', { title: e.address }, short(e.address))),
      h('td', { class: 'number', 'data-label': 'Waiting' }, count(e.count)), h('td', { class: 'number', 'data-label': 'Seen' }, count(e.seen)), h('td', { class: 'number', 'data-label': 'Included' }, count(e.included)),
      h('td', { 'data-label': 'Reputation' }, h('span', { class: `badge ${standing[e.status] ?? ''}` }, e.status)),
      operator.possible && h('td', { class: 'number' }, e.status !== 'banned' && h('button', { type: 'button', class: 'danger small', 'data-act': 'ban', 'data-of': e.address, 'aria-label': `Ban ${e.address}` }, 'Ban'))))))
}

function best(list, senders) {
  if (list.length === 0) return h('p', { class: 'empty' }, 'No operation waits. Send one with eth_sendUserOperation.')
  return h('table', { class: 'cards' },
    h('thead', null, h('tr', null, ['Operation', 'Account', 'Priority, gwei', 'Age', 'Where it stands'].map((t, i) => h('th', { scope: 'col', class: (i === 2 || i === 3) && 'number' }, t)))),
    h('tbody', null, list.map((o) => h('tr', { 'data-key': o.hash },
      h('th', { scope: 'row' }, h('button', { type: 'button', class: 'link', 'data-act': 'find', 'data-of': o.hash, title: o.hash }, short(o.hash))),
      h('td', { 'data-label': 'Account' }, h('button', { type: 'button', class: 'link', 'data-act': 'find', 'data-of': o.sender, title: o.sender }, short(o.sender))),
      h('td', { class: 'number', 'data-label': 'Priority, gwei' }, gwei(o.effective)), h('td', { class: 'number', 'data-label': 'Age' }, lasting(o.age)),
      h('td', { class: 'wide', 'data-label': 'Where it stands' }, o.holder ? ['held by ', holderOf(o.holder, senders)] : o.reason || 'waits for the next bundle')))))
}

/** holderOf is the bundle sender that has an operation, by its token if it is one of this page's. */
function holderOf(holder, senders) {
  const at = senders.findIndex((s) => s.signer === holder.toLowerCase())
  return at < 0 ? h('code', { title: holder }, short(holder)) : tokenBadge(at + 1, senders[at].state)
}

export function drawFees(docs) {
  const fees = docs.get('mempool')?.fees
  if (!fees || fees.counts.length === 0) return
  const x = fees.counts.map((_, i) => (fees.from + i * fees.width) / 1e9)
  const threshold = fees.threshold === null ? null : Number(fees.threshold) / 1e9
  const most = Math.max(...fees.counts)
  const words = `Histogram of effective priority fees from ${gwei(fees.from)} to ${gwei(fees.from + fees.width * fees.counts.length)} gwei. ${plural(fees.below, 'operation')} of ${count(fees.counts.reduce((a, b) => a + b, 0))} pay less than is asked now${threshold === null ? '' : `, ${gwei(fees.threshold)} gwei`}.`
  draw('fees', { series: [x, fees.counts], extra: { threshold, most, end: x.at(-1) + fees.width / 1e9, from: x[0] } }, words, (color, extra) => ({
    padding: [12, 14, 0, 0],
    scales: { x: { time: false, range: () => [extra().from, extra().end] }, y: { range: () => [0, Math.max(1, extra().most) * 1.08] } },
    axes: [axis({ values: (_, ticks) => ticks.map((t) => gwei(t * 1e9)), space: 70 }), axis({ size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] })],
    series: [{}, { paths: bars(), fill: color('--accent-soft'), stroke: color('--accent'), width: 1, points: { show: false } }],
    hooks: { draw: [(u) => {
      if (extra().threshold === null) return
      const at = u.valToPos(extra().threshold, 'x', true)
      const c = u.ctx
      c.save()
      c.strokeStyle = color('--bad')
      c.lineWidth = 2 * devicePixelRatio
      c.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio])
      c.beginPath()
      c.moveTo(at, u.bbox.top)
      c.lineTo(at, u.bbox.top + u.bbox.height)
      c.stroke()
      c.restore()
    }] },
  }))
}
