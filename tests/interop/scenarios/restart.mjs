import { connect } from '../clients.mjs'
import { allSaved, allSynced, converged, destroyAll, move, seen, sleep, until } from '../waiting.mjs'

/** The service dies under open editors: they return by themselves, with what was typed meanwhile. */
export const survives = async ({ url, room, kinds }, meet) => {
  const clients = kinds.map(kind => connect(kind, url, room, { name: kind }))
  await allSynced(clients)
  for (const { doc, kind } of clients) doc.getText('text').insert(0, `${kind} `)
  await converged(clients)
  await allSaved(clients)
  await meet('kill')
  await until('everyone noticed', () => clients.every(c => !c.connected()))
  for (const { doc, kind } of clients) doc.getArray('array').push([`${kind} offline`])
  await meet('start')
  await allSynced(clients, 30000)
  await converged(clients, 15000)
  await allSaved(clients)
  move(clients)
  await seen(clients, kinds)
  const late = connect('yws3', url, room)
  await allSynced([late])
  await converged([late, clients[0]])
  const result = { text: late.doc.getText('text').toString(), array: late.doc.getArray('array').toJSON().sort() }
  destroyAll([late, ...clients])
  return result
}

/** What was acknowledged the moment before the end is there for someone who never knew the writer. */
export const acknowledged = async ({ url, room, kind, edits }, meet) => {
  const writer = connect(kind, url, room)
  await allSynced([writer])
  const text = writer.doc.getText('text')
  for (let i = 0; i < edits; i++) {
    text.insert(text.length, `${i} `)
    if (i % 7 === 0) text.delete(0, 1)
    if (i % 10 === 0) await sleep(1)
  }
  await allSaved([writer])
  // the writer must not be the one who brings it back
  writer.doc.destroy()
  writer.offline()
  await meet('kill')
  await meet('start')
  const late = connect(kind === 'hp4' ? 'yws3' : 'hp4', url, room)
  await allSynced([late], 15000)
  const result = { kept: late.doc.getText('text').toString(), written: text.toString() }
  late.destroy()
  return result
}

/** Killed while people type, again and again: after the last start all copies are equal. */
export const typing = async ({ url, room, kinds, rounds }, meet) => {
  const clients = kinds.map(kind => connect(kind, url, room, { name: kind }))
  await allSynced(clients)
  let on = true
  const typed = clients.map(() => 0)
  const typists = clients.map(async ({ doc, kind }, i) => {
    while (on) {
      doc.getText('text').insert(doc.getText('text').length, `${kind}${typed[i]++},`)
      await sleep(8)
    }
  })
  for (let round = 0; round < rounds; round++) {
    await sleep(300)
    await meet('kill')
    await sleep(200)
    await meet('start')
    await allSynced(clients, 30000)
  }
  on = false
  await Promise.all(typists)
  await converged(clients, 15000)
  await allSaved(clients, 15000)
  await meet('kill')
  await meet('start')
  const late = connect('yws2', url, room)
  await allSynced([late, ...clients], 30000)
  await converged([late, ...clients])
  const words = late.doc.getText('text').toString().split(',').filter(Boolean)
  const result = { words: words.length, typed: typed.reduce((a, b) => a + b), distinct: new Set(words).size }
  destroyAll([late, ...clients])
  return result
}
