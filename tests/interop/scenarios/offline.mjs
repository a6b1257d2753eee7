import { connect } from '../clients.mjs'
import { allSaved, allSynced, converged, destroyAll, move, people, seen, sleep, until } from '../waiting.mjs'

/** Both sides edit while apart, deletes among it; on return they merge. */
export const merge = async ({ url, room, kinds }) => {
  const clients = kinds.map(kind => connect(kind, url, room, { name: kind }))
  await allSynced(clients)
  clients[0].doc.getText('text').insert(0, 'shared beginning')
  await converged(clients)
  await allSaved(clients)
  clients.forEach(c => c.offline())
  await until('everyone is offline', () => clients.every(c => !c.connected()))
  for (const { doc, kind } of clients) {
    const text = doc.getText('text')
    text.insert(text.length, ` ${kind}`)
    doc.getMap('map').set('last', kind)
    doc.getArray('array').push([kind, 1, 2])
    doc.getArray('array').delete(1, 1)
  }
  clients[0].doc.getText('text').delete(0, 7)
  for (const client of clients) {
    client.online()
    await sleep(20)
  }
  await allSynced(clients, 15000)
  await converged(clients)
  await allSaved(clients)
  move(clients)
  await seen(clients, kinds)
  const { doc } = clients[0]
  const result = { text: doc.getText('text').toString(), array: doc.getArray('array').toJSON() }
  destroyAll(clients)
  return result
}

/** Only deletes were made while away: they change no state vector and must arrive all the same. */
export const deletes = async ({ url, room, kind }) => {
  const clients = [connect(kind, url, room), connect('yws3', url, room)]
  await allSynced(clients)
  clients[0].doc.getText('text').insert(0, 'keep drop keep')
  await converged(clients)
  await allSaved([clients[0]])
  clients[0].offline()
  await until('offline', () => !clients[0].connected())
  clients[0].doc.getText('text').delete(5, 5)
  clients[0].online()
  await allSynced(clients, 15000)
  await until(() => clients[1].doc.getText('text').toString(), () => clients[1].doc.getText('text').toString() === 'keep keep')
  const late = connect('hp4', url, room)
  await allSynced([late])
  const result = { text: late.doc.getText('text').toString() }
  destroyAll([...clients, late])
  return result
}

/** A connection that breaks: its cursor goes at once; it returns by itself with what was typed meanwhile. */
export const broken = async ({ url, room, kinds }) => {
  const witness = connect('hp4', url, room, { name: 'witness' })
  const clients = kinds.map(kind => connect(kind, url, room, { name: kind }))
  await allSynced([witness, ...clients])
  await seen([witness, ...clients], ['witness', ...kinds])
  const gone = []
  for (const client of clients) {
    let vanished = -1
    const start = Date.now()
    witness.awareness.on('change', ({ removed }) => { if (removed.includes(client.doc.clientID) && vanished < 0) vanished = Date.now() - start })
    client.drop()
    client.doc.getText('text').insert(0, `${client.kind} `)
    await until(`the cursor of ${client.kind} vanishes`, () => vanished >= 0, 3000)
    gone.push(vanished)
    await allSynced([client], 15000)
    await until(`${client.kind} is seen again without a movement`, () => people(witness).includes(client.kind), 3000)
  }
  await converged([witness, ...clients])
  move([witness, ...clients])
  await seen([witness, ...clients], ['witness', ...kinds])
  await allSaved(clients)
  const result = { gone, text: witness.doc.getText('text').toString() }
  destroyAll([witness, ...clients])
  return result
}

/** Who leaves politely or whose tab closes is gone for the others. */
export const leaving = async ({ url, room, kinds }) => {
  const witness = connect('yws3', url, room, { name: 'witness' })
  const clients = kinds.map(kind => connect(kind, url, room, { name: kind }))
  await allSynced([witness, ...clients])
  await seen([witness], ['witness', ...kinds])
  destroyAll(clients)
  await seen([witness], ['witness'], 3000)
  witness.destroy()
}
