// Elements from values. Everything that is not an element becomes a text node: no text of the outside is ever markup.

const svgNames = new Set(['svg', 'g', 'rect', 'circle', 'path', 'text', 'title', 'defs', 'marker', 'line'])

/** h makes an element. props are attributes; false, null and undefined are left out. children may be nested. */
export function h(name, props, ...children) {
  const element = svgNames.has(name) ? document.createElementNS('http://www.w3.org/2000/svg', name) : document.createElement(name)
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === false || value === null || value === undefined) continue
    if (key === 'share') element.dataset.share = String(value)
    else element.setAttribute(key, value === true ? '' : String(value))
  }
  append(element, children)
  return element
}

function append(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(element, child)
    else if (child instanceof Node) element.append(child)
    else if (child !== false && child !== null && child !== undefined) element.append(document.createTextNode(String(child)))
  }
}

/** show makes a container hold the given children, and touches only what differs: focus, selection and scroll stay. */
export function show(container, ...children) {
  const fresh = document.createElement('div')
  append(fresh, children)
  morphChildren(container, fresh)
  for (const bar of container.querySelectorAll('[data-share]')) {
    const width = `${Math.max(0, Math.min(1, Number(bar.dataset.share))) * 100}%`
    if (bar.style.width !== width) bar.style.width = width
  }
}

function morphChildren(old, fresh) {
  const byKey = new Map()
  for (const child of old.children) if (child.dataset.key) byKey.set(child.dataset.key, child)
  let at = old.firstChild
  for (const want of [...fresh.childNodes]) {
    const kept = want.dataset?.key ? byKey.get(want.dataset.key) : undefined
    if (kept && kept !== at) old.insertBefore(kept, at)
    const have = kept ?? at
    if (have && alike(have, want)) {
      morph(have, want)
      at = have.nextSibling
    } else {
      old.insertBefore(want, at)
    }
  }
  while (at) {
    const next = at.nextSibling
    at.remove()
    at = next
  }
}

function alike(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && a.dataset?.key === b.dataset?.key
}

function morph(have, want) {
  if (have.nodeType === Node.TEXT_NODE) {
    if (have.data !== want.data) have.data = want.data
    return
  }
  if (have.dataset?.own) return // somebody else draws inside
  for (const { name } of [...have.attributes]) {
    if (!want.hasAttribute(name) && name !== 'style' && !(name === 'open' && have.nodeName === 'DETAILS')) have.removeAttribute(name)
  }
  for (const { name, value } of want.attributes) if (have.getAttribute(name) !== value) have.setAttribute(name, value)
  morphChildren(have, want)
}

/** byId finds an element of the page itself. */
export const byId = (id) => document.getElementById(id)
