import { connect, isHocuspocus } from '../clients.mjs'
import { allSaved, allSynced, converged, destroyAll, seen, sleep, until } from '../waiting.mjs'

/** A reader sees everything and is seen, but changes nothing. */
export const readonly = async ({ url, room, kind, write, read }) => {
  const writer = connect('hp4', url, room, { token: write, name: 'Writer' })
  await allSynced([writer])
  writer.doc.getText('text').insert(0, 'before ')
  await allSaved([writer])
  const reader = connect(kind, url, room, { token: read, name: 'Reader' })
  await allSynced([reader])
  await converged([writer, reader])
  if (isHocuspocus(kind)) await until('the answer to its step 2', () => reader.statuses.length > 0)
  const allowed = reader.statuses.slice()
  reader.doc.getText('text').insert(0, 'FORBIDDEN ')
  if (isHocuspocus(kind)) await until(() => `a refusal, statuses ${reader.statuses}`, () => reader.statuses.includes(0))
  writer.doc.getText('text').insert(writer.doc.getText('text').length, 'after')
  await until('the reader gets the edit', () => reader.doc.getText('text').toString().endsWith('after'))
  await seen([writer, reader], ['Reader', 'Writer'])
  await allSaved([writer])
  const late = connect('yws3', url, room, { token: write })
  await allSynced([late])
  const result = {
    text: late.doc.getText('text').toString(), closes: reader.closes, scope: reader.scope,
    allowed, statuses: reader.statuses, unsynced: reader.provider.unsyncedChanges ?? null,
  }
  destroyAll([writer, reader, late])
  return result
}

/** People without a right to the document: told why, and no content. Returns what each kind of client saw. */
export const refused = async ({ url, room, kinds, token, write }) => {
  const owner = connect('hp4', url, room, { token: write, name: 'Owner' })
  await allSynced([owner])
  owner.doc.getText('text').insert(0, 'secret')
  await allSaved([owner])
  const clients = kinds.map(kind => connect(kind, url, room, { token, name: 'Intruder' }))
  await until(
    () => 'refused: ' + clients.filter(c => !c.denied.length && !c.closes.length).map(c => c.kind),
    () => clients.every(c => c.denied.length > 0 || c.closes.length > 0))
  for (const { doc } of clients) doc.getText('text').insert(0, 'intrusion')
  await sleep(700)
  await seen([owner], ['Owner'])
  const result = {
    theirs: owner.doc.getText('text').toString(),
    ...Object.fromEntries(clients.map(c => [c.kind, {
      closes: c.closes, denied: c.denied, synced: c.synced(), text: c.doc.getText('text').toString(), connected: c.connected(),
    }])),
  }
  destroyAll([owner, ...clients])
  return result
}

/** A denied Hocuspocus document may be tried again on the same socket with a better token. */
export const secondTry = async ({ url, room, kind, bad, write }) => {
  let token = bad
  const client = connect(kind, url, room, { token: () => token })
  await until('a refusal', () => client.denied.length > 0)
  token = write
  await client.provider.sendToken()
  client.provider.startSync()
  await until('the second try', () => client.scope === 'read-write' && client.provider.synced)
  client.doc.getText('text').insert(0, 'in')
  await allSaved([client])
  const result = { denied: client.denied.length, closes: client.closes }
  client.destroy()
  return result
}

/** A token as query, as header, as subprotocol. */
export const carriers = async ({ url, room, write }) => {
  const clients = [
    connect('yws3', url, room, { token: write }),
    connect('yws3', url, room, { headers: { Authorization: `Bearer ${write}` } }),
    connect('yws3', url, room, { protocols: [`token.${write}`] }),
    connect('yws2', url, room, { protocols: [`token.${write}`] }),
    connect('hp4', url, room, { token: write }),
  ]
  await allSynced(clients)
  clients.forEach(({ doc }, i) => doc.getArray('array').push([i]))
  await converged(clients)
  await allSaved(clients)
  const result = { array: clients[0].doc.getArray('array').toJSON().sort() }
  destroyAll(clients)
  return result
}

/** Open Hocuspocus documents outlive their tokens: the server asks for the next one in time. */
export const refresh = async ({ url, room, kinds, lasts, write }, meet) => {
  const tokens = await meet('ready')
  const asked = kinds.map(() => 0)
  const clients = kinds.map((kind, i) =>
    connect(kind, url, room, { token: () => tokens[Math.min(asked[i]++, tokens.length - 1)], name: kind }))
  const other = connect('yws3', url, room, { token: write, name: 'Other' })
  await allSynced([...clients, other])
  await sleep(lasts)
  for (const { doc, kind } of clients) doc.getText('text').insert(0, `${kind} `)
  await allSaved(clients)
  await converged([...clients, other])
  await seen([...clients, other], [...kinds, 'Other'])
  const result = { asked, closes: clients.flatMap(c => c.closes), denied: clients.flatMap(c => c.denied), text: other.doc.getText('text').toString() }
  destroyAll([...clients, other])
  return result
}

/** Whoever has no next token is let go when the old one ends, and writes no more. */
export const expiry = async ({ url, room, kinds, lasts, write }, meet) => {
  const other = connect('hp3', url, room, { token: write, name: 'Other' })
  await allSynced([other])
  const closed = []
  const token = await meet('ready')
  const clients = kinds.map(kind =>
    connect(kind, url, room, { token, name: kind, extra: { onClose: ({ event }) => closed.push(kind, event?.reason) } }))
  await allSynced([...clients, other])
  await seen([...clients, other], [...kinds, 'Other'])
  await seen([other], ['Other'], lasts + 20000)
  for (const { doc } of clients) doc.getText('text').insert(0, 'too late')
  await sleep(500)
  const result = { text: other.doc.getText('text').toString(), closes: Object.fromEntries(clients.map(c => [c.kind, c.closes])), closed, denied: Object.fromEntries(clients.map(c => [c.kind, c.denied])) }
  destroyAll([...clients, other])
  return result
}
