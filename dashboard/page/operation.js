// One operation: its whole story, from its arrival to its receipt.
import { h } from './dom.js'
import { ago, clock, count, eth, gwei, plural, short } from './format.js'
import { fact } from './senders.js'

const states = { included: 'good', failed: 'bad', rejected: 'bad', dropped: 'bad', pending: 'wait', bundled: 'wait', submitted: 'wait', not_found: 'plain' }
const said = {
  received: 'It came in', rejected: 'It was refused at the door', added: 'It was validated and waits in the pool', replaced: 'Another operation took its place', skipped: 'It was left out of a bundle',
  bundled: 'It was chosen for a bundle', sent: 'Its bundle was sent', refused: 'The node refused its bundle', released: 'Its bundle was given up; it waits again', reverted: 'Its bundle was mined and reverted',
  mined: 'It is in a block', revived: 'Its block left the chain; it waits again', removed: 'It left the pool without being mined', omitted: 'entries are not remembered',
}
const marks = { rejected: 'bad', reverted: 'bad', removed: 'bad', refused: 'warn', skipped: 'warn', released: 'warn', mined: 'good', sent: 'wait' }

/** search asks the bundler; it returns what to show. */
export async function search(q) {
  try {
    const answer = await fetch(`/page/api/operation?q=${encodeURIComponent(q)}`, { cache: 'no-store' })
    const body = await answer.json()
    return answer.ok ? body : { error: body.error ?? `the bundler answered ${answer.status}` }
  } catch {
    return { error: 'the bundler does not answer' }
  }
}

export function renderFound(found) {
  if (!found) return [h('p', { class: 'empty' }, 'Every operation that came in is remembered for a while, those that were refused too. Look for one by its hash, or by the account that sent it.')]
  if (found.error) return [h('p', { class: 'panel failed', role: 'alert' }, found.error)]
  if (found.hashes) {
    return [h('div', { class: 'panel' }, h('h3', null, `${plural(found.hashes.length, 'operation')} of `, h('code', null, found.account)),
      h('ul', { class: 'hashes' }, found.hashes.map((hash) => h('li', null, h('button', { type: 'button', class: 'link', 'data-act': 'find', 'data-of': hash }, hash)))))]
  }
  const op = found.operation
  return [h('article', { class: 'panel', 'aria-labelledby': 'found-title' },
    h('h3', { id: 'found-title' }, h('span', { class: `badge ${states[op.state] ?? ''}` }, op.state.replace('_', ' ')), ' ', h('code', { class: 'full' }, op.hash)),
    op.reason && h('p', { class: 'why' }, op.reason),
    op.rule && h('p', { class: 'why' }, h('span', { class: 'badge bad' }, op.rule), ` ERC-7562: ${op.ruleTitle || 'a validation rule'}`),
    h('dl', { class: 'facts' },
      op.sender && fact('Account', h('button', { type: 'button', class: 'link', 'data-act': 'find', 'data-of': op.sender, title: op.sender }, short(op.sender))),
      op.nonce && fact('Nonce', op.nonce), op.entryPoint && fact('EntryPoint', h('code', { title: op.entryPoint }, short(op.entryPoint))),
      op.fees && fact('Max fee / priority', `${gwei(op.fees.max)} / ${gwei(op.fees.priority)} gwei`),
      op.paymaster && fact('Paymaster', h('code', { title: op.paymaster }, short(op.paymaster))), op.factory && fact('Factory', h('code', { title: op.factory }, short(op.factory))),
      op.block !== undefined && fact('Block', count(op.block)), op.transaction && fact('Transaction', h('code', { title: op.transaction }, short(op.transaction)))),
    op.callDataLength > 0 && h('details', null, h('summary', null, `Calldata, ${plural(op.callDataLength, 'byte')}`), h('code', { class: 'full' }, op.callData, op.callData.length / 2 - 1 < op.callDataLength && '…')),
    h('h4', null, 'What happened'),
    op.story?.length ? h('ol', { class: 'story' }, op.story.map(chapter)) : h('p', { class: 'empty' }, 'Its story is not remembered: it came in before this process started, or through another bundler.'))]
}

function chapter(c, i) {
  const fine = [
    c.code ? `JSON-RPC code ${c.code}` : '', c.signer && `sender ${short(c.signer)}`, c.transaction && `transaction ${short(c.transaction)}`, c.nonce !== undefined && `nonce ${count(c.nonce)}`,
    c.fees && `${gwei(c.fees.max)} / ${gwei(c.fees.priority)} gwei`, c.success === true && 'its call succeeded', c.success === false && 'its call reverted', c.gasUsed && `gas used ${count(Number(c.gasUsed))}`, c.gasCost && `paid ${eth(c.gasCost)} ETH`, c.other && `other operation ${short(c.other)}`,
  ].filter(Boolean)
  return h('li', { class: marks[c.event] ?? '', 'data-key': `chapter-${i}` },
    h('time', { datetime: new Date(c.at).toISOString(), title: ago(c.at) }, clock(c.at)), h('span', { class: 'quiet' }, `block ${count(c.block)}`),
    h('div', null, h('p', null, h('strong', null, c.event === 'omitted' ? `${plural(c.times, 'entry', 'entries')} not remembered` : said[c.event] ?? c.event), c.event !== 'omitted' && c.times > 1 && ` ${count(c.times)} times, last at ${clock(c.lastAt)}`),
      (c.reason || c.cause) && h('p', null, c.reason || c.cause), fine.length > 0 && h('p', { class: 'quiet' }, fine.join(' · '))))
}
