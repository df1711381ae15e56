// The nodes and relays that the bundler talks to.
import { h } from './dom.js'
import { ago, count } from './format.js'
import { fact } from './senders.js'

export function renderNodes(docs) {
  const endpoints = docs.get('endpoints')
  if (!endpoints) return [h('p', { class: 'empty' }, 'Waiting for the bundler.')]
  return [h('div', { class: 'nodes' }, endpoints.map((e) => h('article', { class: 'panel', 'data-key': `${e.role} ${e.name}` },
    h('h3', null, h('span', { class: 'node-role' }, e.role), ' ', h('span', { class: `badge ${e.well ? 'good' : 'bad'}` }, e.well ? 'ok' : 'trouble')),
    h('code', { class: 'full' }, e.name),
    !e.well && h('p', { class: 'why bad' }, e.status),
    h('dl', { class: 'facts' },
      e.headSeen > 0 && fact('Head', `${count(e.head)}, ${ago(e.headSeen)}`), e.latencyMs !== undefined && fact('Latency', `${e.latencyMs < 10 ? e.latencyMs.toFixed(1) : Math.round(e.latencyMs)} ms`),
      fact('Requests', count(e.requests)), fact('Errors', count(e.errors), e.errors > 0 && 'warn-text'),
      e.evm && fact('Local EVM', e.evm, e.evmAgrees === false && 'bad')),
    e.lastError && h('p', { class: 'quiet' }, `Last error: ${e.lastError}`))))]
}
