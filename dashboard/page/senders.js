// The bundle senders: where each stands and why, what it has tried, what it did last.
import { h } from './dom.js'
import { count, eth, gwei, plural, short, since } from './format.js'
import { drawMachine } from './machine.js'

/** tokenOf is the number that a sender has on the page. */
export const tokenOf = (sender, senders) => senders.findIndex((s) => s.signer === sender.signer) + 1

/** sendersOf are the senders in the bundler's order. */
export const sendersOf = (docs) => (docs.get('senders') ?? []).map((signer) => docs.get(`sender:${signer}`)).filter(Boolean)

export const stateBadge = (state) => h('span', { class: `badge s-${state}` }, state)
export const tokenBadge = (name, state) => h('span', { class: `disc s-${state}`, 'aria-label': `sender ${name}` }, name)

/** why says in one sentence why a sender is where it is, with what it waits for. */
export function why(s, head) {
  const parts = [s.cause]
  if (s.paused) parts.push('paused by an operator')
  if (s.draining) parts.push('draining')
  if (s.inFlight) parts.push(`${s.inFlight} in flight`)
  else if (s.backingOff) parts.push('backing off')
  if (s.state === 'Pending' || s.state === 'CancelPending') parts.push(s.until > head ? `${plural(s.until - head, 'block')} left to wait` : 'its time is up')
  if (s.underpricedSince !== undefined) parts.push(`underpriced since block ${count(s.underpricedSince)}`)
  return parts.join(' · ')
}

export function renderSenders(docs, selected, operator) {
  const senders = sendersOf(docs)
  const machine = docs.get('machine')
  const head = docs.get('head')?.number ?? 0
  if (!machine) return [h('p', { class: 'empty' }, 'Waiting for the bundler.')]
  if (senders.length === 0) return [h('p', { class: 'empty' }, 'No bundle sender runs: this process holds no key. Nothing can be bundled until a key is configured, or its lease is free.')]
  const chosen = senders.find((s) => s.signer === selected) ?? senders[0]
  return [
    h('div', { class: 'split' },
      h('div', { class: 'panel machine-panel' }, drawMachine(machine, senders, chosen.signer)),
      h('div', { class: 'panel list-panel' }, senderTable(senders, chosen, head), alerts(docs, senders, head))),
    detail(chosen, tokenOf(chosen, senders), head, operator),
  ]
}

function senderTable(senders, chosen, head) {
  return h('table', { class: 'cards' },
    h('caption', { class: 'hidden' }, 'Bundle senders'),
    h('thead', null, h('tr', null, ['Sender', 'State', 'Why', 'Since', 'Nonce', 'Balance'].map((t, i) => h('th', { scope: 'col', class: i > 3 && 'number' }, t)))),
    h('tbody', null, senders.map((s) =>
      h('tr', { class: s.signer === chosen.signer && 'chosen', 'data-key': s.signer },
        h('th', { scope: 'row' }, h('button', { type: 'button', class: 'row', 'data-act': 'select', 'data-of': s.signer, 'aria-pressed': String(s.signer === chosen.signer) }, tokenBadge(tokenOf(s, senders), s.state), h('code', null, short(s.signer)))),
        h('td', { 'data-label': 'State' }, stateBadge(s.state)),
        h('td', { 'data-label': 'Why', class: 'wide' }, why(s, head)),
        h('td', { 'data-label': 'Since' }, h('span', { class: 'no-break' }, `block ${count(s.since)}`), ' ', h('span', { class: 'quiet no-break' }, since(s.since, head))),
        h('td', { 'data-label': 'Nonce', class: 'number' }, s.nonce === null ? '–' : count(s.nonce)),
        h('td', { 'data-label': 'Balance', class: `number${s.lowBalance ? ' bad' : ''}` }, eth(s.balance), ' ETH')))))
}

function alerts(docs, senders, head) {
  const list = docs.get('alerts') ?? []
  return h('div', { class: 'alerts' }, h('h3', { class: 'small' }, 'Alerts'),
    list.length === 0 ? h('p', { class: 'quiet' }, 'None since the start.') : h('ul', null, [...list].reverse().slice(0, 5).map((a) => {
      const at = senders.findIndex((s) => s.signer === a.signer)
      return h('li', { 'data-key': `${a.signer} ${a.kind}` }, at >= 0 && [tokenBadge(at + 1, senders[at].state), ' '], h('strong', null, a.kind), ' ', h('span', { class: 'quiet' }, `${since(a.block, head) || `block ${count(a.block)}`}${a.times > 1 ? `, ${count(a.times)} times` : ''}`))
    })))
}

function detail(s, name, head, operator) {
  const waits = s.attempts.length > 0
  return h('article', { class: 'panel detail', 'aria-labelledby': 'detail-title', 'data-key': `detail-${s.signer}` },
    h('div', { class: 'detail-head' },
      h('h3', { id: 'detail-title' }, tokenBadge(name, s.state), ` Sender ${name} `, stateBadge(s.state), s.paused && h('span', { class: 'badge warn' }, 'paused'), s.draining && h('span', { class: 'badge warn' }, 'draining')),
      operator.possible && h('div', { class: 'actions', role: 'group', 'aria-label': `Actions on sender ${name}` },
        h('button', { type: 'button', 'data-act': s.paused ? 'resume' : 'pause', 'data-of': s.signer }, s.paused ? 'Resume' : 'Pause'),
        h('button', { type: 'button', 'data-act': 'cancel', 'data-of': s.signer, disabled: !waits || s.state === 'Cancelling' || s.state === 'CancelPending' }, 'Cancel what waits'),
        h('button', { type: 'button', class: 'danger', 'data-act': 'drain', 'data-of': s.signer, disabled: s.draining }, 'Drain'))),
    h('code', { class: 'full' }, s.signer),
    h('p', { class: 'why' }, h('strong', null, `${s.state} since block ${count(s.since)}: `), why(s, head), '.'),
    h('dl', { class: 'facts' },
      fact('Nonce', s.nonce === null ? 'not known yet' : count(s.nonce)), fact('Balance', `${eth(s.balance)} ETH`, s.lowBalance && 'bad'),
      fact('Operations held', count(s.held)), fact('Fee increases', count(s.feeIncreases)), fact('Cancellation fee increases', count(s.cancelIncreases)),
      fact('Bundling', s.auto ? 'automatic' : 'by hand')),
    h('div', { class: 'halves' },
      h('div', null, h('h4', null, 'Attempts at this nonce'), waits ? attempts(s, head) : h('p', { class: 'empty' }, 'No transaction of this sender waits to be mined.')),
      h('div', null, h('h4', null, 'Journal, newest first'), journal(s.journal))))
}

export const fact = (name, value, kind) => h('div', null, h('dt', null, name), h('dd', { class: kind }, value))

function attempts(s, head) {
  return h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Attempts at this nonce' }, h('table', null,
    h('thead', null, h('tr', null, ['#', 'What', 'Max fee', 'Priority', 'Tried', 'Status'].map((t, i) => h('th', { scope: 'col', class: (i === 0 || i === 2 || i === 3) && 'number' }, t)))),
    h('tbody', null, s.attempts.map((a) => h('tr', { 'data-key': `attempt-${a.id}` },
      h('td', { class: 'number' }, a.id),
      h('td', null, h('span', { class: 'no-break' }, a.kind === 'bundle' ? `bundle of ${count(a.operations)}` : a.kind), ' ', h('code', { class: 'quiet', title: a.hash }, short(a.hash))),
      h('td', { class: 'number' }, gwei(a.fees.max)), h('td', { class: 'number' }, gwei(a.fees.priority)),
      h('td', { class: 'no-break' }, since(a.block, head) || `block ${count(a.block)}`),
      h('td', null, a.status, a.abandoned && h('span', { class: 'badge' }, 'abandoned'), a.hit && h('span', { class: 'badge bad' }, 'would revert')))))))
}

function journal(lines) {
  if (!lines || lines.length === 0) return h('p', { class: 'empty' }, 'Nothing but quiet blocks since the start.')
  return h('ol', { class: 'journal', tabindex: 0, role: 'region', 'aria-label': 'Journal' }, [...lines].reverse().map((line) => h('li', null,
    h('span', { class: 'when' }, line.block ? count(line.block) : '–'), stateBadge(line.state),
    h('div', null, h('p', null, line.text), line.follows?.map((f) => h('p', { class: 'quiet' }, f))))))
}

