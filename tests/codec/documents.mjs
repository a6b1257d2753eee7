// Documents made by Yjs, for test_content.py: `node documents.mjs > documents.json`, after `npm ci` in ../fidelity.
import { createRequire } from 'node:module'

const Y = createRequire(new URL('../fidelity/', import.meta.url))('yjs')
const documents = {}
const make = (name, id, edit) => {
  const doc = new Y.Doc()
  doc.clientID = id
  edit(doc)
  documents[name] = Buffer.from(Y.encodeStateAsUpdate(doc)).toString('hex')
}

make('texts', 1, doc => {
  const plain = doc.getText('plain')
  plain.insert(0, 'héllo 😀 wörld')
  plain.delete(1, 1)
  const formatted = doc.getText('formatted')
  formatted.insert(0, 'bold plain')
  formatted.format(0, 4, { bold: true })
  formatted.insertEmbed(4, { image: 'x.png' })
  const again = doc.getText('again')
  again.insert(0, 'abc')
  again.delete(0, 3)
  again.insert(0, 'def')
  const gone = doc.getText('gone')
  gone.insert(0, 'abc')
  gone.delete(0, 3)
  const half = doc.getText('half')
  half.insert(0, 'a😀b')
  half.delete(1, 1)
})

make('values', 2, doc => {
  const map = doc.getMap('map')
  const values = {
    int: 1, float: 1.5, large: 2 ** 50, negativeZero: -0, bigint: 5n, huge: 2n ** 60n, nan: NaN, infinity: Infinity, undefined,
    null: null, true: true, text: 'a text', bytes: new Uint8Array([1, 2, 255]), object: { b: [1, { c: undefined }], a: '<' }
  }
  for (const key in values) map.set(key, values[key])
  map.set('overwritten', 'old')
  map.set('overwritten', 'kept')
  map.set('deleted', 1)
  map.delete('deleted')
  const text = map.set('text type', new Y.Text())
  text.insert(0, 'nested')
  text.format(0, 3, { i: true })
  map.set('list', new Y.Array()).push([1, new Y.Map([['k', 'v']])])
  map.set('document', new Y.Doc({ guid: 'sub-1', meta: { a: 1 } }))
  map.set('fragment', new Y.XmlFragment()).insert(0, [new Y.XmlText('in a map')])
  doc.getArray('array').push(['one', null, [2], { three: 3 }, new Uint8Array([9]), new Y.Text('six'), new Y.XmlElement('hr')])
})

make('xml', 3, doc => {
  const page = doc.getXmlFragment('page')
  const title = new Y.XmlElement('heading')
  title.setAttribute('level', 2)
  title.setAttribute('class', 'a"b<c')
  const words = new Y.XmlText('Hello <world> & all')
  words.format(6, 7, { bold: {} })
  title.insert(0, [words])
  const line = new Y.XmlElement('paragraph')
  line.insert(0, [new Y.XmlText('Hi '), new Y.XmlElement('mention'), new Y.XmlText(', one'), new Y.XmlElement('hardBreak'),
    new Y.XmlText('two')])
  const list = new Y.XmlElement('list')
  for (const word of ['first', 'second']) {
    const item = new Y.XmlElement('item')
    const paragraph = new Y.XmlElement('paragraph')
    paragraph.insert(0, [new Y.XmlText(word)])
    item.insert(0, [paragraph])
    list.push([item])
  }
  page.insert(0, [title, line, list, new Y.XmlElement('rule')])
})

make('hook', 4, doc => {
  const hook = new Y.XmlHook('chart')
  doc.getXmlFragment('page').insert(0, [hook])
  hook.set('data', { x: 1 })
})

make('lexical', 5, doc => {
  const root = doc.get('root', Y.XmlText)
  root.setAttribute('__dir', 'ltr')
  for (const words of ['first line', 'second line']) {
    const paragraph = new Y.XmlText()
    root.insertEmbed(root.length, paragraph)
    paragraph.insert(0, words)
    paragraph.setAttribute('__type', 'paragraph')
  }
})

make('embedded', 6, doc => {
  const text = doc.getText('text')
  text.insert(0, 'ab')
  const map = new Y.Map()
  text.insertEmbed(1, map)
  map.set('k', 'v')
})

console.log(JSON.stringify(documents, null, 1))
