// The bundles: what was sent in which block, what became of it, what it earned and cost.
import { h } from './dom.js'
import { count, eth, gwei, plural, short, signed, since } from './format.js'
import { axis, draw, frame, steps } from './plots.js'
import { sendersOf, tokenBadge } from './senders.js'
import { tile } from './mempool.js'

const blocksShown = 12
const rowsShown = 12
const rowsMost = 100
const kinds = { sent: 'wait', unclear: 'warn', refused: 'warn', replaced: 'plain', mined: 'good', reverted: 'bad', cancelled: 'plain' }
const words = { sent: 'sent', unclear: 'answer unclear', refused: 'refused', replaced: 'replaced', mined: 'mined', reverted: 'reverted', cancelled: 'cancelled' }

export const bundlesOf = (docs) => [...docs].filter(([key]) => key.startsWith('bundle:')).map(([, b]) => b).sort((a, b) => b.order - a.order)
export const statusBadge = (b) => h('span', { class: `badge ${kinds[b.status] ?? ''}` }, b.cancels && b.status === 'mined' ? 'cancellation mined' : words[b.status] ?? b.status)

export function renderBundles(docs) {
  const sums = docs.get('sums')
  if (!sums) return [h('p', { class: 'empty' }, 'Waiting for the bundler.')]
  const bundles = bundlesOf(docs)
  const senders = sendersOf(docs)
  const head = docs.get('head')?.number ?? 0
  const profit = BigInt(sums.earned) - BigInt(sums.cost)
  return [
    h('div', { class: 'tiles' },
      tile('Profit', `${signed(profit)} ETH`, `earned ${eth(sums.earned)}, paid ${eth(sums.cost)}`, profit < 0n ? 'bad' : ''),
      tile('Bundles mined', count(sums.bundles), plural(sums.operations, 'operation')),
      tile('Reverted', count(sums.reverted), sums.reverted ? 'each cost its gas' : 'none', sums.reverted ? 'bad' : ''),
      tile('Cancellations', count(sums.cancellations), 'mined')),
    h('div', { class: 'halves' },
      h('div', { class: 'panel' }, h('h3', null, 'Profit and cost so far, ETH'),
        mined(bundles).length < 2 ? h('p', { class: 'empty tall' }, 'Drawn from the second mined bundle on.') : [frame('money', ''), h('p', { class: 'key' }, h('span', { class: 'swatch profit-swatch' }), 'profit', h('span', { class: 'swatch cost-swatch' }), 'cost')]),
      h('div', { class: 'panel' }, h('h3', null, 'Block by block'), timeline(bundles, senders, head))),
    h('div', { class: 'panel' }, h('h3', null, 'Transactions, newest first'), table(bundles.slice(0, rowsShown), senders, head),
      bundles.length > rowsShown && h('details', { class: 'more', 'data-key': 'more-bundles' }, h('summary', null, `${Math.min(bundles.length, rowsMost) - rowsShown} older`), table(bundles.slice(rowsShown, rowsMost), senders, head))),
  ]
}

const mined = (bundles) => bundles.filter((b) => b.cost !== undefined && (b.status === 'mined' || b.status === 'reverted')).sort((a, b) => a.ended - b.ended || a.order - b.order)

const tokenFor = (signer, senders) => {
  const at = senders.findIndex((s) => s.signer === signer)
  return at < 0 ? h('code', null, short(signer)) : tokenBadge(at + 1, senders[at].state)
}

function timeline(bundles, senders, head) {
  const blocks = new Map()
  const note = (block, what, b) => {
    if (block > 0) blocks.set(block, [...(blocks.get(block) ?? []), { what, b }])
  }
  for (const b of bundles) {
    note(b.sent, 'sent', b)
    if (b.status !== 'sent' && b.status !== 'unclear' && b.status !== 'refused') note(b.ended, b.status, b)
  }
  const newest = [...blocks].sort(([a], [b]) => b - a).slice(0, blocksShown)
  if (newest.length === 0) return h('p', { class: 'empty tall' }, 'No transaction has been sent yet.')
  return h('ol', { class: 'timeline', tabindex: 0, role: 'region', 'aria-label': 'Block by block' }, newest.map(([block, happened]) => h('li', { 'data-key': `block-${block}` },
    h('div', { class: 'block' }, h('strong', null, count(block)), h('span', { class: 'quiet' }, since(block, head))),
    h('ul', { class: 'happened' }, happened.map(({ what, b }) => h('li', { class: `chip ${kinds[what === 'sent' && b.status !== 'refused' ? 'sent' : b.status]}`, title: b.hash },
      tokenFor(b.signer, senders), h('span', null, `${what === 'sent' && b.status === 'refused' ? 'refused' : words[what] ?? what}${b.cancels ? ' cancellation' : ` ${plural(b.operations, 'op')}`}`)))))))
}

function table(bundles, senders, head) {
  if (bundles.length === 0) return h('p', { class: 'empty' }, 'No transaction has been sent since the start, and none is remembered from before.')
  return h('table', { class: 'cards' },
    h('thead', null, h('tr', null, ['Transaction', 'Sender', 'Status', 'Block', 'Operations', 'Gas used / limit', 'Max fee', 'Profit, ETH'].map((t, i) => h('th', { scope: 'col', class: i > 3 && 'number' }, t)))),
    h('tbody', null, bundles.map((b) => h('tr', { 'data-key': b.hash },
      h('th', { scope: 'row' }, h('code', { title: b.hash }, short(b.hash))),
      h('td', { 'data-label': 'Sender' }, tokenFor(b.signer, senders)),
      h('td', { 'data-label': 'Status' }, statusBadge(b), b.text && h('span', { class: 'quiet reason' }, b.text)),
      h('td', { 'data-label': 'Block' }, blockText(b, head)),
      h('td', { 'data-label': 'Operations', class: 'number' }, b.cancels ? 'cancellation' : operations(b)),
      h('td', { 'data-label': 'Gas used / limit', class: 'number' }, b.gasUsed ? count(b.gasUsed) : '–', ' / ', b.gasLimit ? count(b.gasLimit) : '–'),
      h('td', { 'data-label': 'Max fee', class: 'number' }, b.fees ? gwei(b.fees.max) : '–'),
      h('td', { 'data-label': 'Profit, ETH', class: `number${Number(b.profit) < 0 ? ' bad' : ''}` }, b.profit ? signed(b.profit) : b.expected && b.status === 'sent' ? h('span', { class: 'quiet' }, `expects ${eth(b.expected)}`) : '–')))))
}

function operations(b) {
  if (!b.hashes?.length) return count(b.operations)
  return h('details', null, h('summary', null, count(b.operations)), h('ul', { class: 'hashes' }, b.hashes.map((hash) => h('li', null, h('button', { type: 'button', class: 'link', 'data-act': 'find', 'data-of': hash, title: hash }, short(hash)))), b.operations > b.hashes.length && h('li', { class: 'quiet' }, `and ${b.operations - b.hashes.length} more`)))
}

function blockText(b, head) {
  if (!b.sent) return b.ended ? count(b.ended) : '–'
  if (!b.ended) return [count(b.sent), ' ', h('span', { class: 'quiet no-break' }, since(b.sent, head))]
  return b.sent === b.ended ? count(b.sent) : `${count(b.sent)} → ${count(b.ended)}`
}

/** drawMoney draws the sums as they grew over the transactions that are remembered; they end at the sums of all time. */
export function drawMoney(docs) {
  const sums = docs.get('sums')
  const list = sums ? mined(bundlesOf(docs)) : []
  if (list.length < 2) return
  let earned = BigInt(sums.earned)
  let cost = BigInt(sums.cost)
  const points = []
  for (const b of [...list].reverse()) {
    points.push([b.ended, Number(earned - cost) / 1e18, Number(cost) / 1e18])
    earned -= BigInt(b.earned)
    cost -= BigInt(b.cost)
  }
  points.push([list[0].ended - 1, Number(earned - cost) / 1e18, Number(cost) / 1e18])
  points.reverse()
  const last = new Map(points.map((p) => [p[0], p])) // of a block, what stands at its end
  const kept = [...last.values()]
  const series = [0, 1, 2].map((i) => kept.map((p) => p[i]))
  const say = `Over blocks ${count(series[0][0])} to ${count(series[0].at(-1))}: profit ${signed(BigInt(sums.earned) - BigInt(sums.cost))} ETH, cost ${eth(sums.cost)} ETH.`
  draw('money', { series }, say, (color) => ({
    padding: [12, 14, 0, 0],
    scales: { x: { time: false }, y: { range: (_, low, high) => [Math.min(0, low), Math.max(0, high) * 1.05 || 1] } },
    axes: [axis({ values: (_, ticks) => ticks.map((t) => (Number.isInteger(t) ? count(t) : '')), space: 80 }), axis({ size: 76, values: (_, ticks) => ticks.map((t) => eth(t * 1e18)) })],
    series: [{}, { paths: steps(), stroke: color('--good'), width: 2, fill: color('--good-soft'), points: { show: false } }, { paths: steps(), stroke: color('--bad'), width: 2, dash: [6, 4], points: { show: false } }],
  }))
}
