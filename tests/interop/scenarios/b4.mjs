import fs from 'node:fs'
import * as Y from 'yjs'
import { connect } from '../clients.mjs'
import { allSynced, converged, destroyAll, sleep, until } from '../waiting.mjs'

const IN_FLIGHT = 4000 // edits that are sent and not acknowledged
const turn = () => new Promise(resolve => setImmediate(resolve))

const edit = (text, [at, remove, insert]) => text.doc.transact(() => {
  if (remove) text.delete(at, remove)
  if (insert) text.insert(at, insert)
})

/** What there is of a document, without its history: the same for all who have the same. */
const observed = doc => ({
  text: doc.getText('text').toString(),
  vector: [...Y.decodeStateVector(Y.encodeStateVector(doc))].sort(([a], [b]) => a - b),
  deletes: [...Y.snapshot(doc).ds.clients].sort(([a], [b]) => a - b)
    .map(([client, ranges]) => [client, ...ranges.map(({ clock, len }) => [clock, len])]),
  pending: doc.store.pendingStructs !== null || doc.store.pendingDs !== null,
})

const same = (what, got, want) => {
  for (const part of Object.keys(want)) {
    if (JSON.stringify(got[part]) !== JSON.stringify(want[part])) {
      throw new Error(`${what}: ${part} is ${JSON.stringify(got[part]).slice(0, 300)}, not ${JSON.stringify(want[part]).slice(0, 300)}`)
    }
  }
}

/**
 * Type `patches` (a file of [at, delete, insert]), an edit a transaction, as fast as the service acknowledges; others
 * watch. The service is killed `kills` times meanwhile, and stopped and started at the end, when nobody is left.
 */
export const typed = async ({ url, room, patches: file, kills }, meet) => {
  const patches = JSON.parse(fs.readFileSync(file, 'utf8'))
  const writer = connect('yws3', url, room, { params: { ack: '1' } })
  const watchers = [connect('yws3', url, room), connect('hp4', url, room)]
  const clients = [writer, ...watchers]
  await allSynced(clients)

  let done = 0
  let sent = 0 // on this connection
  writer.provider.on('status', ({ status }) => { if (status === 'connected') { sent = 0; writer.acks.length = 0 } })
  const text = writer.doc.getText('text')
  const started = performance.now()
  const typing = (async () => {
    for (const patch of patches) {
      edit(text, patch)
      done++
      if (!writer.connected()) {
        if (done % 20 === 0) await sleep(1)
        continue
      }
      sent++
      if (done % 50 === 0) await turn()
      while (writer.connected() && sent - writer.acks.length > IN_FLIGHT) await turn()
    }
  })()
  for (let kill = 1; kill <= kills; kill++) {
    await until('half of it is typed', () => done > patches.length * kill / (kills + 1), 200000)
    await meet('kill')
  }
  await typing
  await allSynced(clients, 30000)
  const wanted = Y.encodeStateVector(writer.doc)
  await until('everybody has all of it', () => watchers.every(({ doc }) => Buffer.compare(Y.encodeStateVector(doc), wanted) === 0), 60000)
  await until('all is saved', () => kills > 0 || writer.acks.length >= sent, 30000)
  const seconds = (performance.now() - started) / 1000
  await converged(clients, 30000)

  // Yjs alone, by the same hand
  const alone = new Y.Doc()
  alone.clientID = writer.doc.clientID
  for (const patch of patches) edit(alone.getText('text'), patch)
  const want = observed(alone)
  for (const client of clients) same(client.kind, observed(client.doc), want)
  destroyAll(clients)

  await meet('restart')
  const joins = {}
  for (const kind of ['yws3', 'hp4']) {
    const joined = performance.now()
    const late = connect(kind, url, room)
    await allSynced([late], 30000)
    joins[kind] = performance.now() - joined
    same(`late ${kind}`, observed(late.doc), want)
    late.destroy()
  }
  return { seconds, edits: patches.length, joins, stored: Y.encodeStateAsUpdate(alone).length }
}
