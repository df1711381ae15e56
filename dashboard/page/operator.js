// What an operator can change: never without a proof of who it is, never without being asked once more.
import { byId, h, show } from './dom.js'

/** session asks whether this page is an operator's, and whether it can become one. */
export async function session() {
  try {
    const answer = await fetch('/session', { cache: 'no-store' })
    return answer.ok ? await answer.json() : { operator: false, possible: false }
  } catch {
    return { operator: false, possible: false }
  }
}

let answer = null // takes what the open question is answered with

function settle(value) {
  const typed = byId('ask-input')
  if (typed) typed.value = ''
  const take = answer
  answer = null
  take?.(value)
}

byId('ask').addEventListener('submit', () => settle(byId('ask-input')?.value ?? '')) // the dialog closes by itself
byId('ask').addEventListener('cancel', () => settle(null)) // Escape

/** leave closes the question and does nothing. */
export function leave() {
  byId('ask').close()
  settle(null)
}

/** ask opens a question and returns what was typed ('' where nothing is to be typed), or null if it was declined. */
function ask({ title, text, confirm, danger, input }) {
  settle(null) // one question at a time
  show(byId('ask'), h('form', { method: 'dialog' },
    h('h2', { id: 'ask-title' }, title), text.map((t) => h('p', null, t)),
    input && [h('label', { for: 'ask-input' }, input), h('input', { id: 'ask-input', type: 'password', autocomplete: 'off', required: true })],
    h('div', { class: 'actions' }, h('button', { type: 'button', 'data-act': 'leave' }, 'Leave it'), h('button', { type: 'submit', value: 'yes', class: danger ? 'danger-full' : 'primary' }, confirm))))
  if (!byId('ask').open) byId('ask').showModal()
  byId('ask-input')?.focus()
  return new Promise((resolve) => { answer = resolve })
}

let fading
export function tell(text, bad) {
  const place = byId('told')
  place.textContent = text
  place.className = `told shown${bad ? ' bad' : ''}`
  clearTimeout(fading)
  fading = setTimeout(() => { place.className = 'told' }, 8000)
}

/** login asks for the token and starts a session; it returns whether there is one. */
export async function login() {
  const token = await ask({ title: 'Become an operator', text: ['The operators’ token is the setting --admin-token; `baler dev` prints it at the start. The page forgets it at once and keeps a session in its place.'], confirm: 'Log in', input: 'Token' })
  if (token === null) return false
  const answer = await fetch('/session', { method: 'POST', headers: { Authorization: `Bearer ${token}` } }).catch(() => null)
  if (answer?.ok) return true
  tell(answer ? 'The token is wrong.' : 'The bundler does not answer.', true)
  return false
}

export async function logout() {
  await fetch('/session', { method: 'DELETE' }).catch(() => null)
}

const questions = {
  pause: (of, name) => ({ title: `Pause ${name}?`, text: [of, 'It proposes no bundle until it is resumed. What it has out is watched and settled, but not replaced: a transaction that is stuck stays stuck.'], confirm: 'Pause' }),
  resume: (of, name) => ({ title: `Resume ${name}?`, text: [of, 'It builds bundles again at once.'], confirm: 'Resume' }),
  cancel: (of, name) => ({ title: `Cancel what ${name} has out?`, text: [of, 'Its nonce is freed by an empty transaction with higher fees, within the cancellation budget. The operations go back to the pool. If it is not paused, it builds again afterwards.'], confirm: 'Cancel the transaction', danger: true }),
  drain: (of, name) => ({ title: `Drain ${name}?`, text: [of, 'It finishes what it has out and goes out of service. This process does not take the key again before its configuration is loaded again.'], confirm: 'Drain', danger: true }),
  ban: (of) => ({ title: 'Ban this entity?', text: [of, 'Every operation that names it leaves the pool, and new ones are refused, until its reputation has recovered by the hour.'], confirm: 'Ban', danger: true }),
}

/** act asks, then calls the bundler, and says what came of it. It returns false if a login is needed first. */
export async function act(what, of, name) {
  if ((await ask(questions[what](of, name))) === null) return true
  const path = what === 'resume' ? 'pause' : what
  const body = { address: of, ...(path === 'pause' && { paused: what === 'pause' }) }
  try {
    const answer = await fetch(`/page/api/${path}`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })
    if (answer.status === 401) return false
    const said = await answer.json()
    tell(answer.ok ? `${name || 'Entity'}: ${said.done}` : said.error, !answer.ok)
  } catch {
    tell('The bundler does not answer.', true)
  }
  return true
}
