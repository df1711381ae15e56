// What matters now, in one look: either nothing does, or what does and where.
import { h } from './dom.js'
import { ago, count, eth, gwei, lasting, plural, signed, since } from './format.js'
import { bundlesOf } from './bundles.js'
import { sendersOf, tokenOf } from './senders.js'
import { tile } from './mempool.js'

const staleHead = 90_000 // milliseconds without a block, where the bundler does not say
const manyAttempts = 4
const recent = 30 // blocks for which an alert counts

/** matters are the things that need a person, the worst first. */
export function matters(docs, connection, now = Date.now()) {
  const found = []
  const say = (rank, text, where, more) => found.push({ rank, text, where, more })
  const head = docs.get('head')
  if (connection === 'lost') say(0, 'This page has lost the bundler: what it shows is old', '#now')
  if (!head) say(1, 'No block has been seen yet', '#nodes')
  else if (now - head.seen > (docs.get('chain')?.maxHeadAge || staleHead)) say(0, `No new block for ${lasting((now - head.seen) / 1000)}`, '#nodes')
  for (const e of docs.get('endpoints') ?? []) if (!e.well) say(0, `${e.role}: ${e.status}`, '#nodes', e.name)
  for (const e of docs.get('endpoints') ?? []) if (e.evmAgrees === false) say(0, 'The local EVM disagrees with the node', '#nodes', e.evm)
  const senders = sendersOf(docs)
  if (docs.has('senders') && senders.length === 0) say(0, 'No bundle sender runs', '#senders')
  for (const s of senders) {
    const name = `Sender ${tokenOf(s, senders)}`
    if (s.attempts.length >= manyAttempts) say(1, `${name} has ${s.attempts.length} transactions out at one nonce, and none is mined`, '#senders', `the first since block ${count(s.attempts[0].block)}`)
    if (s.lowBalance) say(0, `${name} runs out of money: ${eth(s.balance)} ETH left`, '#senders')
    if (s.state === 'Stopped') say(0, `${name} is stopped: ${s.cause}`, '#senders')
    if (s.state === 'Cancelling') say(1, `${name} cannot free its nonce yet`, '#senders', `${s.cause}, since block ${count(s.since)}`)
    if (s.state === 'CancelPending') say(2, `${name} waits for its cancellation`, '#senders', `since block ${count(s.since)}`)
    if (s.paused) say(2, `${name} is paused by an operator`, '#senders')
    if (s.draining) say(2, `${name} is draining`, '#senders')
  }
  for (const a of docs.get('alerts') ?? []) {
    if (head && head.number - a.block > recent) continue
    const at = senders.findIndex((s) => s.signer === a.signer)
    say(1, `${at < 0 ? '' : `Sender ${at + 1}: `}${a.kind}`, at < 0 ? '#nodes' : '#senders', `${since(a.block, head?.number)}${a.times > 1 ? `, ${count(a.times)} times` : ''}${a.text && a.text !== `bundle sender: ${a.kind}` ? ` · ${a.text}` : ''}`)
  }
  return found.sort((a, b) => a.rank - b.rank)
}

export function renderNow(docs, connection) {
  const list = matters(docs, connection)
  const bad = list.filter((m) => m.rank < 2).length
  const title = bad > 0 ? `${plural(bad, 'thing')} ${bad === 1 ? 'needs' : 'need'} you` : list.length > 0 ? 'All is well, with something to know' : 'All is well'
  return [
    h('div', { class: `verdict ${bad > 0 ? (list[0].rank === 0 ? 'bad' : 'warn') : 'good'}` },
      h('h1', { id: 'now-title' }, title), h('p', { class: 'quiet' }, sentence(docs)),
      list.length > 0 && h('ul', { class: 'matters' }, list.slice(0, 8).map((m, i) => h('li', { class: ['bad', 'warn', 'info'][m.rank], 'data-key': `matter-${i}` }, h('a', { href: m.where }, m.text), m.more && h('span', { class: 'quiet' }, ` ${m.more}`)))), list.length > 8 && h('p', { class: 'quiet' }, `and ${list.length - 8} more`)),
    h('div', { class: 'tiles now-tiles' }, tiles(docs)),
  ]
}

/** sentence is the bundler in one sentence. */
function sentence(docs) {
  const senders = sendersOf(docs)
  const pool = docs.get('mempool')
  if (!docs.has('senders') || !pool) return 'The bundler has not said anything yet.'
  const by = new Map()
  for (const s of senders) by.set(s.state, (by.get(s.state) ?? 0) + 1)
  const states = [...by].map(([state, n]) => `${n} ${state}`).join(', ')
  return `${plural(senders.length, 'sender')}${states ? ` (${states})` : ''}, ${plural(pool.operations, 'operation')} waiting, ${count(pool.held)} of them in a bundle.`
}

function tiles(docs) {
  const head = docs.get('head')
  const sums = docs.get('sums')
  const last = bundlesOf(docs).filter((b) => b.status === 'mined' && !b.cancels).sort((a, b) => b.ended - a.ended)[0]
  const profit = sums ? BigInt(sums.earned) - BigInt(sums.cost) : 0n
  return [
    tile('Block', head ? count(head.number) : '–', head ? ago(head.seen) : 'none seen yet'),
    tile('Last bundle', last ? count(last.ended) : '–', last ? `${since(last.ended, head?.number)}, ${plural(last.operations, 'operation')}` : 'none mined yet'),
    tile('Next base fee', head ? gwei(head.baseFee) : '–', 'gwei'),
    tile('Profit', sums ? signed(profit) : '–', 'ETH', profit < 0n ? 'bad' : ''),
  ]
}
