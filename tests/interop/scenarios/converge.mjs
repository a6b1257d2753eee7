import * as Y from 'yjs'
import { connect } from '../clients.mjs'
import { allSaved, allSynced, content, converged, destroyAll, people, seen, sleep, until } from '../waiting.mjs'

/** One client of each kind writes one thing of each type; everyone ends with the same and sees everyone. */
export const everyKind = async ({ url, room, kinds }) => {
  const clients = kinds.map(kind => connect(kind, url, room, { name: kind }))
  await allSynced(clients)
  for (const { doc, kind } of clients) {
    doc.getText('text').insert(0, `${kind} `)
    doc.getMap('map').set(kind, { by: kind })
    doc.getArray('array').push([kind])
    const paragraph = new Y.XmlElement('paragraph')
    paragraph.insert(0, [new Y.XmlText(kind)])
    doc.getXmlFragment('xml').insert(0, [paragraph])
  }
  await converged(clients)
  await seen(clients, kinds)
  await allSaved(clients)
  const { doc } = clients[0]
  const result = { text: doc.getText('text').toString(), array: doc.getArray('array').toJSON(), map: doc.getMap('map').toJSON(), xml: doc.getXmlFragment('xml').toString() }
  destroyAll(clients)
  return result
}

/** Whoever comes later gets document and presence, whatever wrote them. */
export const lateJoiner = async ({ url, room, kinds }) => {
  const writers = [connect('yws3', url, room, { name: 'Ada' }), connect('hp4', url, room, { name: 'Grace' })]
  await allSynced(writers)
  for (let i = 0; i < 40; i++) {
    const { doc } = writers[i % 2]
    doc.getText('text').insert(doc.getText('text').length, `${i} `)
    if (i % 5 === 4) doc.getText('text').delete(0, 1)
    if (i % 10 === 0) await sleep(2)
  }
  await converged(writers)
  for (const kind of kinds) {
    const late = connect(kind, url, room, { name: 'Late' })
    await allSynced([late])
    // synced means here and now, without waiting for more
    if (content(late.doc) !== content(writers[0].doc)) throw new Error(`${kind} says synced but shows ${content(late.doc)}`)
    await seen([late, ...writers], ['Ada', 'Grace', 'Late'])
    late.destroy()
    await seen(writers, ['Ada', 'Grace'])
  }
  destroyAll(writers)
}

/** Names and text of all the world, and an emoji of which one half is deleted. */
export const unicode = async ({ url, room, kinds, words }) => {
  const clients = kinds.map((kind, i) => connect(kind, url, room, { name: words[i % words.length] }))
  await allSynced(clients)
  for (const [i, { doc }] of clients.entries()) {
    const text = doc.getText('text')
    for (const word of words) text.insert(Math.min(text.length, i), word)
    doc.getMap('map').set(words[i % words.length], words)
    text.format(0, 3, { [words[0]]: words[1] })
  }
  await converged(clients)
  const emoji = clients[0].doc.getText('t-emoji')
  emoji.insert(0, 'a😀b')
  await converged(clients)
  clients[1].doc.getText('t-emoji').delete(1, 1)
  await seen(clients, clients.map((_, i) => words[i % words.length]))
  const late = connect('yws3', url, room)
  await allSynced([late])
  await converged([clients[0], late])
  const result = { names: people(clients[0]), emoji: late.doc.getText('t-emoji').toString(), text: late.doc.getText('text').toString() }
  destroyAll([late, ...clients])
  return result
}

/** Values that a re-encoding server changes: they arrive as they were sent, live and from storage. */
export const values = async ({ url, room, kinds }) => {
  const [first, ...others] = kinds.map(kind => connect(kind, url, room))
  const clients = [first, ...others]
  await allSynced(clients)
  const map = first.doc.getMap('map')
  const values = {
    bigint: 5n, negative: -9007199254740993n, zero: -0, nothing: null, absent: undefined, float: 0.1, large: 2 ** 53,
    bytes: new Uint8Array([0, 255, 128]), nested: { z: 1n, a: [-0, undefined, 'x'] }, yes: true, empty: '', surrogate: 'a\u{1F469}\u200D\u{1F680}',
  }
  for (const [key, value] of Object.entries(values)) map.set(key, value)
  map.set('doc', new Y.Doc({ guid: 'child', meta: { title: 'meta', n: 3 } }))
  const inner = new Y.Map()
  map.set('inner', inner)
  inner.set('list', Y.Array.from([1, 'two', new Uint8Array([3])]))
  const xml = first.doc.getXmlFragment('xml')
  const element = new Y.XmlElement('div')
  element.setAttribute('class', '<&">')
  element.insert(0, [new Y.XmlText('text <b>'), new Y.XmlHook('widget'), new Y.XmlElement('br')])
  xml.insert(0, [element])
  const text = first.doc.getText('text')
  text.insert(0, 'formatted', { bold: true, link: { href: 'x' } })
  text.insertEmbed(3, { image: 'i.png' })
  text.format(2, 4, { bold: null })
  await converged(clients)
  await allSaved([first])
  for (const kind of kinds) {
    const late = connect(kind, url, room)
    await allSynced([late])
    await converged([first, late])
    late.destroy()
  }
  const result = { content: content(others[0].doc) }
  destroyAll(clients)
  return result
}

/** A document inside a document, with a room of its own. */
export const subdocument = async ({ url, room }) => {
  const outer = [connect('yws3', url, room), connect('hp4', url, room)]
  await allSynced(outer)
  const child = new Y.Doc({ guid: `${room}-child`, meta: { kind: 'chapter' } })
  child.getText('text').insert(0, 'chapter one')
  outer[0].doc.getMap('map').set('chapter', child)
  await until('the other side has the subdocument', () => outer[1].doc.getMap('map').has('chapter'))
  const other = outer[1].doc.getMap('map').get('chapter')
  other.load()
  const inner = [connect('hp3', url, child.guid, { doc: child }), connect('yws2', url, other.guid, { doc: other })]
  await allSynced(inner)
  await converged(inner)
  other.getText('text').insert(0, 'the ')
  await converged(inner)
  const result = { text: child.getText('text').toString(), meta: other.meta, guid: other.guid }
  destroyAll([...inner, ...outer])
  return result
}

/** Undo takes back one's own edits and nobody else's. */
export const undo = async ({ url, room, kinds }) => {
  const clients = kinds.map(kind => connect(kind, url, room))
  await allSynced(clients)
  const [mine, other] = clients
  const text = mine.doc.getText('text')
  const manager = new Y.UndoManager(text, { captureTimeout: 0 })
  text.insert(0, 'mine')
  await converged(clients)
  other.doc.getText('text').insert(2, '-theirs-')
  await converged(clients)
  text.delete(0, 1)
  const deleted = text.toString()
  manager.undo()
  const restored = text.toString()
  manager.undo()
  await converged(clients)
  const undone = other.doc.getText('text').toString()
  manager.redo()
  await converged(clients)
  const result = { deleted, restored, undone, redone: other.doc.getText('text').toString() }
  destroyAll(clients)
  return result
}

/** Several people type at random; at the end all copies and a newcomer's are equal. */
export const session = async ({ url, room, kinds, edits, seed, drops = false }) => {
  let state = seed
  const random = n => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor(state / 2 ** 32 * n)
  }
  const clients = kinds.map((kind, i) => connect(kind, url, room, { name: `${kind}-${i}` }))
  await allSynced(clients)
  const pieces = ['a', 'bc', 'é', '😀', 'שלום', '\n', ' ']
  // between characters only: Yjs may split a pair of surrogates in one copy and not in another, whoever carries it
  const between = (text, at) => (/[\ud800-\udbff]/.test(text.toString()[at - 1] ?? '') ? at + 1 : at)
  const edit = doc => {
    const text = doc.getText('text')
    const array = doc.getArray('array')
    const at = between(text, random(text.length + 1))
    const after = between(text, Math.min(text.length, at + 1 + random(3)))
    switch (random(8)) {
      case 0: text.delete(at, after - at); break
      case 1: doc.getMap('map').set(`k${random(6)}`, random(1000)); break
      case 2: doc.getMap('map').delete(`k${random(6)}`); break
      case 3: array.insert(random(array.length + 1), [random(100), pieces[random(7)]]); break
      case 4: if (array.length) array.delete(random(array.length), 1); break
      case 5: if (after > at) text.format(at, after - at, { bold: random(2) ? true : null }); break
      default: text.insert(at, pieces[random(7)])
    }
  }
  for (let i = 0; i < edits; i++) {
    for (const client of clients) {
      edit(client.doc)
      if (drops && random(edits) < 3) client.drop()
      if (random(10) === 0) client.awareness.setLocalStateField('cursor', { at: i })
    }
    if (random(4) === 0) await sleep(random(4))
  }
  await allSynced(clients, 15000)
  await converged(clients, 15000)
  const late = connect(kinds[0], url, room)
  await allSynced([late])
  await converged([clients[0], late])
  const result = { length: late.doc.getText('text').length, kinds: clients.map(c => c.kind) }
  destroyAll([late, ...clients])
  return result
}

/** Opens a document for a client of another language: writes, and waits for what it answers. */
export const withOther = async ({ url, room, kind }, meet) => {
  const client = connect(kind, url, room, { name: 'node' })
  await allSynced([client])
  client.doc.getText('text').insert(0, 'from node 😀 ')
  await allSaved([client])
  await meet('written')
  await until(() => `their answer in ${client.doc.getText('text')}`, () => client.doc.getText('text').toString().includes('from python ü'))
  const result = { text: client.doc.getText('text').toString(), map: client.doc.getMap('map').toJSON() }
  client.destroy()
  return result
}

/** A pre-release of y-websocket for Yjs 14, which writes the same updates. */
export const fourteen = async ({ url, room }) => {
  const [Y14, { WebsocketProvider }, { default: WebSocket }] = await Promise.all([import('@y/y'), import('@y/websocket-4'), import('ws')])
  const others = [connect('yws3', url, room), connect('hp4', url, room)]
  await allSynced(others)
  others[0].doc.getText('text').insert(0, 'thirteen ')
  const doc = new Y14.Doc()
  const provider = new WebsocketProvider(`${url}/ws`, room, doc, { disableBc: true, WebSocketPolyfill: WebSocket })
  await until('synced', () => provider.synced)
  await until('their text', () => doc.get('text').toString() !== '' && JSON.stringify(doc.get('text').toJSON()).includes('thirteen'))
  let echoed = 0
  doc.on('update', (_, origin) => { if (origin === provider) echoed++ })
  doc.get('text').insert(0, 'fourteen ')
  await converged(others)
  await until(() => others[1].doc.getText('text').toString(), () => others.every(o => o.doc.getText('text').toString() === 'fourteen thirteen '))
  const result = { text: others[1].doc.getText('text').toString() }
  provider.destroy()
  destroyAll(others)
  return result
}

