import { connect } from '../clients.mjs'
import { allSaved, allSynced, sleep, until } from '../waiting.mjs'

/** With ?ack=1 every update sent is answered once it is saved; without it no such message ever comes. */
export const acknowledged = async ({ url, room, kind, edits, write, read }) => {
  const client = connect(kind, url, room, { params: { ack: '1' }, token: write })
  const plain = connect(kind, url, room, { token: write })
  await allSynced([client, plain])
  await until('the answer to its step 2', () => client.acks.length > 0)
  const text = client.doc.getText('text')
  for (let i = 0; i < edits; i++) {
    text.insert(0, 'x')
    if (i % 4 === 0) text.delete(0, 1)
    if (i % 20 === 0) await sleep(1)
  }
  plain.doc.getText('text').insert(0, 'y')
  await allSaved([client, plain])
  await sleep(100)
  const reader = connect(kind, url, room, { params: { ack: '1' }, token: read })
  await allSynced([reader])
  await until('the answer to its step 2', () => reader.acks.length > 0)
  reader.doc.getText('text').insert(0, 'z')
  await until('the refusal', () => reader.acks.length > 1)
  const result = { acks: client.acks, plain: plain.acks, reader: reader.acks, updates: 1 + edits + Math.ceil(edits / 4) }
  for (const c of [client, plain, reader]) c.destroy()
  return result
}
