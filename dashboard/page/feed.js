// The documents of the page: all of them once, then their changes, for as long as the page is open.

/**
 * follow keeps a Map of documents. changed(keys) is told after every piece of news, state(word) how the connection is:
 * 'live', 'lost' or 'login'.
 */
export function follow(docs, changed, state) {
  let source
  let retry

  function replace(snapshot) {
    docs.clear()
    for (const [key, value] of Object.entries(snapshot.docs)) docs.set(key, value)
    changed(null)
  }

  async function begin() {
    clearTimeout(retry)
    source?.close()
    try {
      const answer = await fetch('/page/api/snapshot', { cache: 'no-store' })
      if (answer.status === 401) {
        state('login')
        return
      }
      if (!answer.ok) throw new Error(`snapshot: ${answer.status}`)
      const snapshot = await answer.json()
      replace(snapshot)
      open(snapshot.id)
    } catch {
      state('lost')
      retry = setTimeout(begin, 2000)
    }
  }

  function open(id) {
    source = new EventSource(`/page/api/changes?after=${encodeURIComponent(id)}`)
    source.addEventListener('open', () => state('live'))
    source.addEventListener('change', (event) => {
      const { key, value } = JSON.parse(event.data)
      if (value === null) docs.delete(key)
      else docs.set(key, value)
      changed(key)
    })
    source.addEventListener('snapshot', (event) => replace(JSON.parse(event.data)))
    source.addEventListener('error', () => {
      state('lost')
      // The browser comes back by itself, and says with Last-Event-ID where it was. When it has given up, we begin anew.
      if (source.readyState === EventSource.CLOSED) retry = setTimeout(begin, 2000)
    })
  }

  begin()
  return begin
}
