import { connect, sharedSocket } from '../clients.mjs'
import { allSaved, allSynced, converged, destroyAll, seen, sleep, until } from '../waiting.mjs'

/** Every change is acknowledged exactly once: the count of unsynced changes returns to zero and never goes below. */
export const acknowledged = async ({ url, room, kind, edits }) => {
  const client = connect(kind, url, room)
  const least = []
  client.provider.on('unsyncedChanges', data => least.push(data?.number ?? data))
  await allSynced([client])
  await allSaved([client])
  const before = client.statuses.length
  const text = client.doc.getText('text')
  for (let i = 0; i < edits; i++) {
    text.insert(text.length, 'x')
    if (i % 3 === 0) text.delete(0, 1)
    if (i % 20 === 0) await sleep(1)
  }
  const updates = edits + Math.ceil(edits / 3)
  await allSaved([client])
  await sleep(100)
  const live = client.statuses.slice(before)
  // a step 2 that holds nothing new is acknowledged as well
  client.provider.forceSync()
  await allSaved([client])
  const result = { live: live.length, updates, refused: client.statuses.filter(s => s !== 1).length, least: Math.min(...least), length: text.length }
  client.destroy()
  return result
}

/** Two views of one document on one socket, told apart by their session (v4). */
export const sessions = async ({ url, room }) => {
  const log = { closes: [] }
  const socket = sharedSocket('hp4', url, log)
  const views = [1, 2].map(n => connect('hp4', url, room, { socket, session: true, name: `view ${n}` }))
  await allSynced(views)
  views[0].doc.getText('text').insert(0, 'one ')
  views[1].doc.getText('text').insert(0, 'two ')
  await converged(views)
  await allSaved(views)
  await seen(views, ['view 1', 'view 2'])
  views[0].destroy()
  await seen([views[1]], ['view 2'], 3000)
  views[1].doc.getText('text').insert(0, 'still ')
  await allSaved([views[1]])
  const result = { text: views[1].doc.getText('text').toString(), closes: log.closes }
  views[1].destroy()
  socket.destroy()
  return result
}

/** Clients that know the ping get it while nobody says anything, older ones never do; nobody loses the connection. */
export const pings = async ({ url, room, lasts, pinged = 0 }) => {
  const clients = ['hp2', 'hp3', 'hp4'].map(kind => connect(kind, url, room, { name: kind }))
  await allSynced(clients)
  await sleep(lasts)
  await until('pings', () => clients[2].pings >= pinged)
  clients[0].doc.getText('text').insert(0, 'awake')
  await converged(clients)
  const result = Object.fromEntries(clients.map(c => [c.kind, { pings: c.pings, closes: c.closes }]))
  destroyAll(clients)
  return result
}

/** A stateless message is not ours to act on; the document stays open. */
export const stateless = async ({ url, room, kind }) => {
  const clients = [connect(kind, url, room), connect('yws3', url, room)]
  await allSynced(clients)
  clients[0].provider.sendStateless('{"hello":"👋"}')
  clients[0].doc.getText('text').insert(0, 'after')
  await converged(clients)
  await allSaved([clients[0]])
  const result = { closes: clients[0].closes, text: clients[1].doc.getText('text').toString() }
  destroyAll(clients)
  return result
}

/** Changes gathered by the client for a while (v4) are one message and one acknowledgement. */
export const gathered = async ({ url, room }) => {
  const clients = [connect('hp4', url, room, { extra: { flushDelay: 50 }, name: 'slow' }), connect('yws3', url, room, { name: 'fast' })]
  await allSynced(clients)
  for (let i = 0; i < 50; i++) {
    clients[0].doc.getText('text').insert(i, 'x')
    await sleep(2)
  }
  await converged(clients)
  await allSaved([clients[0]])
  await seen(clients, ['fast', 'slow'])
  const result = { text: clients[1].doc.getText('text').toString(), messages: clients[0].statuses.length }
  destroyAll(clients)
  return result
}
