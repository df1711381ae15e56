// The page: documents in, sections out. Every section is a function of the documents.
import { byId, show } from './dom.js'
import { ago, count } from './format.js'
import { follow } from './feed.js'
import { renderNow } from './now.js'
import { renderSenders, sendersOf, tokenOf } from './senders.js'
import { drawFees, renderMempool } from './mempool.js'
import { drawMoney, renderBundles } from './bundles.js'
import { renderFound, search } from './operation.js'
import { renderNodes } from './nodes.js'
import { act, leave, login, logout, session, tell } from './operator.js'

const docs = new Map()
const operator = { operator: false, possible: false }
let selected = ''
let connection = 'connecting'
let found = null
let lookedFor = ''

const sections = {
  now: () => show(byId('now'), ...renderNow(docs, connection)),
  senders: () => show(byId('senders-body'), ...renderSenders(docs, selected, operator)),
  mempool: () => { show(byId('mempool-body'), ...renderMempool(docs, operator)); drawFees(docs) },
  bundles: () => { show(byId('bundles-body'), ...renderBundles(docs)); drawMoney(docs) },
  operation: () => show(byId('operation-body'), ...renderFound(found)),
  nodes: () => show(byId('nodes-body'), ...renderNodes(docs)),
  top: () => {
    const chain = docs.get('chain')
    const head = docs.get('head')
    byId('chain').textContent = chain ? `chain ${chain.id}` : ''
    byId('head').textContent = head ? `block ${count(head.number)}, ${ago(head.seen)}` : ''
    byId('live').textContent = { live: 'Live', lost: 'Reconnecting', login: 'Login needed', connecting: 'Connecting' }[connection]
    byId('live').className = `live ${connection}`
    byId('operator').textContent = operator.operator ? 'Operator: log out' : operator.possible ? 'Read-only: log in' : 'Read-only'
    byId('operator').disabled = !operator.possible
    byId('operator').dataset.act = operator.operator ? 'logout' : 'login'
  },
}

// Documents change in bursts: one picture of the screen draws them all.
const wanted = new Set()
function redraw(...names) {
  if (wanted.size === 0) requestAnimationFrame(() => { const now = [...wanted]; wanted.clear(); for (const name of now) sections[name]() })
  for (const name of names.length ? names : Object.keys(sections)) wanted.add(name)
}

function changed(key) {
  if (key === null || key === 'chain') redraw()
  else if (key === 'head') redraw('top', 'now', 'senders', 'bundles')
  else if (key.startsWith('sender') || key === 'machine') redraw('now', 'senders', 'bundles')
  else if (key.startsWith('bundle:') || key === 'sums') redraw('now', 'bundles')
  else if (key === 'mempool') redraw('now', 'mempool')
  else if (key === 'endpoints') redraw('now', 'nodes')
  else redraw('now')
  if (key === 'head' && lookedFor) refind() // the story goes on
}

const begin = follow(docs, changed, (word) => { connection = word; redraw('top', 'now') })

async function find(q) {
  lookedFor = q.trim()
  byId('q').value = lookedFor
  found = await search(lookedFor)
  redraw('operation')
}

async function refind() {
  const q = lookedFor
  if (!found?.operation) return
  const again = await search(q)
  if (q === lookedFor && again.operation) { found = again; redraw('operation') }
}

async function whoAmI() {
  Object.assign(operator, await session())
  redraw('top', 'senders', 'mempool')
}

const themes = ['system', 'light', 'dark']
function setTheme(name) {
  if (name === 'system') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = name
  byId('theme').textContent = `Theme: ${name}`
  try { localStorage.setItem('theme', name) } catch { /* it holds for this page then */ }
  redraw('mempool', 'bundles')
}

async function operate(what, of) {
  const senders = sendersOf(docs)
  const at = senders.find((s) => s.signer === of)
  const name = at ? `sender ${tokenOf(at, senders)}` : ''
  if (!operator.operator && !(await enter())) return
  if (!(await act(what, of, name))) {
    operator.operator = false
    redraw('top')
    tell('The session has ended: log in again.', true)
  }
}

async function enter() {
  const entered = await login()
  await whoAmI()
  if (entered && connection === 'login') begin()
  return entered
}

const deeds = {
  select: (of) => { selected = of; redraw('senders') },
  find: (of) => { find(of); byId('operation').scrollIntoView({ block: 'start' }) },
  theme: () => setTheme(themes[(themes.indexOf(document.documentElement.dataset.theme ?? 'system') + 1) % themes.length]),
  leave,
  login: enter,
  logout: async () => { await logout(); await whoAmI() },
}
for (const what of ['pause', 'resume', 'cancel', 'drain', 'ban']) deeds[what] = (of) => operate(what, of)

document.addEventListener('click', (event) => {
  const target = event.target.closest?.('[data-act]')
  if (target && !target.disabled) deeds[target.dataset.act]?.(target.dataset.of)
})
document.addEventListener('keydown', (event) => {
  const target = event.target.closest?.('g[data-act]')
  if (target && (event.key === 'Enter' || event.key === ' ')) {
    event.preventDefault()
    deeds[target.dataset.act]?.(target.dataset.of)
  }
})
byId('search').addEventListener('submit', (event) => { event.preventDefault(); find(byId('q').value) })
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => redraw('mempool', 'bundles'))
addEventListener('resize', () => redraw('mempool', 'bundles'))
setInterval(() => redraw('top', 'now', 'nodes'), 1000) // ages grow without news

let theme = 'system'
try { theme = localStorage.getItem('theme') ?? theme } catch { /* not allowed here */ }
setTheme(themes.includes(theme) ? theme : 'system')
whoAmI()
redraw()
