// The nodes and relays that the bundler talks to.
import { h } from './dom.js'
import { ago, count } from './format.js'
import { fact } from './senders.js'

const circuits = { closed: 'closed: it is asked', open: 'open: left alone for a while', 'half-open': 'half-open: one request tries it' }

// counted says whether requests to an endpoint are counted: those over a WebSocket are not.
const counted = (e) => e.requests > 0 || e.circuit || e.latencyMs !== undefined

export function renderNodes(docs) {
  const endpoints = docs.get('endpoints')
  if (!endpoints) return [h('p', { class: 'empty' }, 'Waiting for the bundler.')]
  if (endpoints.length === 0) return [h('p', { class: 'empty' }, 'No node is known yet.')]
  return [h('div', { class: 'nodes' }, endpoints.map((e) => h('article', { class: 'panel', 'data-key': `${e.role} ${e.name}` },
    h('h3', null, h('span', { class: 'node-role' }, e.role), ' ', h('span', { class: `badge ${!e.well ? 'bad' : e.status === 'ok' ? 'good' : 'wait'}` }, !e.well ? 'trouble' : e.status)),
    h('code', { class: 'full' }, e.name),
    !e.well && h('p', { class: 'why bad' }, e.circuit ? `It is ${e.status}.` : e.status),
    h('dl', { class: 'facts' },
      e.headSeen > 0 && fact('Head', `${count(e.head)}, ${ago(e.headSeen)}`, e.agreedHead > e.head && 'warn-text'),
      e.agreedHead > 0 && fact('Agreed head', e.agreedHead > e.head ? `${count(e.agreedHead)}, it is ${count(e.agreedHead - e.head)} behind` : count(e.agreedHead)),
      e.latencyMs !== undefined && fact('Latency', `${e.latencyMs < 10 ? e.latencyMs.toFixed(1) : Math.round(e.latencyMs)} ms`),
      counted(e) && fact('Requests', count(e.requests)), counted(e) && fact('Errors', e.errors > 0 && e.requests > 0 ? `${count(e.errors)} (${(100 * e.errors / e.requests).toFixed(1)}%)` : count(e.errors), e.errors > 0 && 'warn-text'),
      e.circuit && fact('Circuit', circuits[e.circuit] ?? e.circuit, e.circuit !== 'closed' && 'warn-text'),
      e.evm && fact('Local EVM', e.evm, e.evmAgrees === false && 'bad')),
    e.lastError && h('p', { class: 'quiet' }, `Last error: ${e.lastError}`))))]
}
