// Numbers and times as people read them. Amounts come as decimal strings of wei and stay exact until they are shown.

const grouped = new Intl.NumberFormat('en-US')

export const count = (n) => grouped.format(n)
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`
export const short = (hex) => (hex && hex.length > 14 ? `${hex.slice(0, 8)}…${hex.slice(-4)}` : hex)

const fewDigits = new Intl.NumberFormat('en-US', { maximumSignificantDigits: 4 })
const significant = (x) => fewDigits.format(x).replace('-', '−')

export const gwei = (wei) => (wei === null || wei === undefined ? '–' : significant(Number(wei) / 1e9))
export const eth = (wei) => (wei === null || wei === undefined || wei === '' ? '–' : significant(Number(wei) / 1e18))
export const signed = (wei) => (Number(wei) > 0 ? `+${eth(wei)}` : eth(wei))

export function bytes(n) {
  if (n < 1000) return `${n} B`
  if (n < 1e6) return `${(n / 1e3).toFixed(1)} kB`
  return `${(n / 1e6).toFixed(1)} MB`
}

/** lasting says how long so many seconds are. */
export function lasting(seconds) {
  const s = Math.max(0, Math.round(seconds))
  if (s < 100) return `${s} s`
  if (s < 6000) return `${Math.round(s / 60)} min`
  if (s < 48 * 3600) return `${Math.round(s / 3600)} h`
  return `${Math.round(s / 86400)} days`
}

export const ago = (ms, now = Date.now()) => `${lasting((now - ms) / 1000)} ago`
export const clock = (ms) => new Date(ms).toLocaleTimeString('en-GB', { hour12: false })

/** since says how long ago a block was, counted in blocks. */
export function since(block, head) {
  if (!head || block > head) return ''
  return block === head ? 'this block' : `${plural(head - block, 'block')} ago`
}
