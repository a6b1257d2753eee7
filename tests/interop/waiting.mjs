// Waiting for things that other people do, with a reason when they do not.
import * as Y from 'yjs'

export const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

/** Poll until `test` is true. `what` says in the failure what never came true; a function may add what was seen. */
export const until = async (what, test, ms = 20000) => {
  const end = Date.now() + ms
  for (;;) {
    if (await test()) return
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${typeof what === 'function' ? what() : what}`)
    await sleep(5)
  }
}

export const allSynced = (clients, ms) => until(
  () => 'synced: ' + clients.filter(c => !c.synced()).map(c => `${c.kind} closes=${c.closes} denied=${c.denied}`).join('; '),
  () => clients.every(c => c.synced()), ms)

export const allSaved = (clients, ms) => until(
  () => 'saved: ' + clients.filter(c => !c.saved()).map(c => `${c.kind} unsynced=${c.provider.unsyncedChanges} confirmed=${c.confirmed}`).join('; '),
  () => clients.every(c => c.saved()), ms)

/** Everything of a document, exactly: also what JSON has no word for. */
export const content = doc => JSON.stringify(Object.fromEntries([...doc.share.keys()].sort().map(key => [key, shown(root(doc, key))])))

const root = (doc, key) => {
  const type = doc.share.get(key)
  if (type.constructor !== Y.AbstractType) return type
  return doc.get(key, key.startsWith('m') ? Y.Map : key.startsWith('a') ? Y.Array : key.startsWith('x') ? Y.XmlFragment : Y.Text)
}

const shown = value => {
  if (value instanceof Y.Text) return { delta: value.toDelta().map(shown) }
  if (value instanceof Y.Array) return value.toArray().map(shown)
  if (value instanceof Y.Map) return { map: [...value.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([k, v]) => [k, shown(v)]) }
  if (value instanceof Y.XmlElement) return { element: value.nodeName, attributes: Object.entries(value.getAttributes()).sort().map(shown), children: value.toArray().map(shown) }
  if (value instanceof Y.XmlFragment) return { fragment: value.toArray().map(shown) }
  if (value instanceof Y.Doc) return { doc: value.guid, meta: shown(value.meta) }
  if (value instanceof Uint8Array) return { bytes: [...value] }
  if (typeof value === 'bigint') return { bigint: String(value) }
  if (value === undefined) return { undefined: true }
  if (typeof value === 'number' && (Object.is(value, -0) || !Number.isFinite(value))) return { number: Object.is(value, -0) ? '-0' : String(value) }
  if (Array.isArray(value)) return value.map(shown)
  if (value !== null && typeof value === 'object') return Object.entries(value).map(([k, v]) => [k, shown(v)])
  return value
}

/** Wait until every document shows the same and nothing is waiting for a missing update. */
export const converged = async (clients, ms = 8000) => {
  const differs = () => {
    for (const c of clients) {
      for (const key of clients[0].doc.share.keys()) c.doc.share.has(key) || c.doc.get(key)
      if (c.doc.store.pendingStructs || c.doc.store.pendingDs) return `${c.kind} has pending structs`
    }
    const vector = JSON.stringify([...Y.decodeStateVector(Y.encodeStateVector(clients[0].doc))].sort())
    for (const c of clients) {
      const own = JSON.stringify([...Y.decodeStateVector(Y.encodeStateVector(c.doc))].sort())
      if (own !== vector) return `state of ${c.kind}: ${own} is not ${clients[0].kind}'s ${vector}`
    }
    const first = content(clients[0].doc)
    const other = clients.find(c => content(c.doc) !== first)
    return other && `content of ${other.kind}: ${content(other.doc).slice(0, 300)} is not ${clients[0].kind}'s ${first.slice(0, 300)}`
  }
  await until(differs, () => !differs(), ms)
}

/** Names of the people that `client` sees. */
export const people = client => [...client.awareness.getStates().values()].map(state => state.user?.name).filter(Boolean).sort()

export const seen = (clients, names, ms) => {
  const wanted = JSON.stringify([...names].sort())
  return until(
    () => `everyone sees ${wanted}: ` + clients.map(c => `${c.kind} sees ${JSON.stringify(people(c))}`).join('; '),
    () => clients.every(c => JSON.stringify(people(c)) === wanted), ms)
}

/** Everyone moves a cursor: who returns after a break is shown from its next movement on, as awareness clocks go. */
export const move = clients => clients.forEach((c, i) => c.awareness.setLocalStateField('cursor', { moved: i }))

export const destroyAll = clients => clients.forEach(c => c.destroy())
