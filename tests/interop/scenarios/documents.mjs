import * as Y from 'yjs'
import { connect, escaped, isHocuspocus, sharedSocket } from '../clients.mjs'
import { allSaved, allSynced, content, converged, destroyAll, seen, until } from '../waiting.mjs'

/** Several documents on one Hocuspocus socket: apart from each other; closing one leaves the rest open. */
export const oneSocket = async ({ url, room, kind, count }) => {
  const log = { closes: [] }
  const socket = sharedSocket(kind, url, log)
  const rooms = Array.from({ length: count }, (_, i) => `${room}/${i}`)
  const mine = rooms.map((name, i) => connect(kind, url, name, { socket, name: `mine-${i}` }))
  const others = rooms.map(name => connect('yws3', url, name))
  await allSynced([...mine, ...others])
  mine.forEach(({ doc }, i) => doc.getText('text').insert(0, `document ${i}`))
  await allSaved(mine)
  for (const [i, client] of mine.entries()) await converged([client, others[i]])
  mine[0].destroy()
  await seen([others[0]], [], 3000)
  others[1].doc.getText('text').insert(0, 'more ')
  others[0].doc.getText('text').insert(0, 'unseen ')
  await converged([mine[1], others[1]])
  await seen([others[1]], ['mine-1'])
  const again = connect(kind, url, rooms[0], { socket, name: 'again' })
  await allSynced([again])
  await converged([again, others[0]])
  const result = { texts: others.map(o => o.doc.getText('text').toString()), closes: log.closes, closed: mine[0].doc.getText('text').toString() }
  destroyAll([...mine.slice(1), again, ...others])
  socket.destroy()
  return result
}

/** Names with all that names may hold: both protocols mean the same document, and no two names the same one. */
export const names = async ({ url, rooms, raw }) => {
  const pairs = rooms.map(room => [
    connect('yws3', url, raw.includes(room) ? room : escaped(room)),
    connect('hp4', url, room),
  ])
  await allSynced(pairs.flat())
  pairs.forEach(([a, b], i) => {
    a.doc.getArray('array').push([`${i}a`])
    b.doc.getArray('array').push([`${i}b`])
  })
  for (const pair of pairs) await converged(pair)
  await allSaved(pairs.flat())
  const late = rooms.map(room => connect('yws2', url, escaped(room)))
  await allSynced(late)
  for (const [i, client] of late.entries()) await converged([client, pairs[i][0]])
  const result = { arrays: late.map(c => c.doc.getArray('array').toJSON().sort()) }
  destroyAll([...pairs.flat(), ...late])
  return result
}

/** Names that can't be names are refused, and the server goes on. */
export const badNames = async ({ url, rooms, room }) => {
  const refused = []
  for (const bad of rooms) {
    for (const kind of ['yws3', 'hp4']) {
      const client = connect(kind, url, kind === 'hp4' ? bad : escaped(bad))
      await until(`${kind} is refused ${JSON.stringify(bad).slice(0, 40)}`, () => client.closes.length + client.denied.length > 0)
      refused.push(!client.synced())
      client.destroy()
    }
  }
  const good = [connect('yws3', url, room), connect('hp4', url, room)]
  await allSynced(good)
  good[0].doc.getText('text').insert(0, 'fine')
  await converged(good)
  destroyAll(good)
  return { refused }
}

/** A large document: uploaded by one, joined by another, then edited in both. */
export const large = async ({ url, room, bytes, uploader, joiner }) => {
  const doc = new Y.Doc()
  const text = doc.getText('text')
  const map = doc.getMap('map')
  const paragraph = 'The quick brown fox jumps over the lazy dog – ünïcödé 😀. '.repeat(200)
  doc.transact(() => {
    for (let size = 0, i = 0; size < bytes; size += paragraph.length + 100, i++) {
      text.insert(text.length, `${i} ${paragraph}`)
      for (let row = 0; row < 20; row++) map.set(`row-${i}-${row}`, { id: row, done: row % 2 === 0 })
    }
  })
  const size = Y.encodeStateAsUpdate(doc).length
  const started = Date.now()
  const first = connect(uploader, url, room, { doc })
  await allSynced([first], 30000)
  if (isHocuspocus(uploader)) await allSaved([first], 60000)
  const uploaded = Date.now() - started
  const join = Date.now()
  const second = connect(joiner, url, room)
  await allSynced([second], 60000)
  await until('the joiner holds it', () => second.doc.getText('text').length === text.length, 60000)
  const joined = Date.now() - join
  text.insert(0, 'first ')
  second.doc.getText('text').insert(second.doc.getText('text').length, ' second')
  await converged([first, second], 30000)
  await allSaved([first, second], 30000)
  const result = { size, uploaded, joined, length: text.length, equal: content(first.doc) === content(second.doc) }
  destroyAll([first, second])
  return result
}
