import * as Y from 'yjs'
import { connect } from '../clients.mjs'
import { allSaved, allSynced, destroyAll, seen, until } from '../waiting.mjs'

const paragraph = (client, at) => client.doc.getXmlFragment('default').get(at).get(0)
const text = client => client.doc.getXmlFragment('default').toArray().map(node => node.toString().replace(/<[^>]*>/g, '')).join('\n')
/** Sent away: the newer Hocuspocus providers are told so by a message of its own, and are not synced any more. */
const gone = client => client.denied.length > 0 || client.closes.length > 0 || !client.synced()

/** Editors of three kinds in one document, while an API does things to it, them and their rights. */
export const walk = async ({ url, room, ada, bo, viewer, guest }, meet) => {
  const writer = connect('hp4', url, room, { token: ada, name: 'Ada' })
  await allSynced([writer])
  const fragment = writer.doc.getXmlFragment('default')
  const add = words => {
    const node = new Y.XmlElement('paragraph')
    node.insert(0, [new Y.XmlText(words)])
    fragment.insert(fragment.length, [node])
  }
  add('The quick brown fox')
  add('sleeps')
  await allSaved([writer])
  const other = connect('yws3', url, room, { token: bo, name: 'Bo' })
  const reader = connect('hp3', url, room, { token: viewer, name: 'Vi' })
  const visitor = connect('hp4', url, room, { token: guest, name: 'Gus' })
  const everybody = [writer, other, reader, visitor]
  await allSynced(everybody)
  await until('everybody has the text', () => everybody.every(c => text(c) === text(writer)))
  await seen(everybody, ['Ada', 'Bo', 'Gus', 'Vi'])
  await meet('written')

  paragraph(writer, 0).insert(4, 'very ')
  paragraph(other, 1).insert(6, ' no more')
  await allSaved([writer, other])
  for (const nobody of [reader, visitor]) paragraph(nobody, 0).insert(0, 'FORBIDDEN ')
  await until('both refused', () => [reader, visitor].every(c => c.statuses.includes(0)))
  await until('the readers read on', () => [reader, visitor].every(c => text(c).includes('no more')))
  await meet('typed')

  await until(() => `the stale body is merged: ${text(writer)}`, () => [writer, other].every(c => text(c).includes('red')))
  await until('both have the same', () => text(other) === text(writer))
  await meet('merged', { text: text(writer) })

  await until('the viewer is sent away', () => gone(reader))
  await meet('revoked', { at: Date.now() / 1000, reason: reader.denied[0] ?? reader.closes[0] })
  await until('the guest is sent away', () => gone(visitor))
  await meet('withdrawn', { at: Date.now() / 1000 })

  paragraph(writer, 0).insert(0, 'Still: ')
  await allSaved([writer])
  await meet('trashing')
  await until('the writers are sent away', () => gone(writer) && gone(other))
  await meet('trashed')

  const again = connect('hp4', url, room, { token: ada, name: 'Ada' })
  await allSynced([again])
  const result = { text: text(again) }
  destroyAll([...everybody, again])
  return result
}
