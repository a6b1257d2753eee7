// Documents between the content of the platform and Tiptap, for test_content.py: one question a line, one answer each.
import { createInterface } from 'node:readline'
import { getSchema, Mark, Node } from '@tiptap/core'
import { TaskItem, TaskList } from '@tiptap/extension-list'
import StarterKit from '@tiptap/starter-kit'
import { Node as ProseMirrorNode } from '@tiptap/pm/model'
import { prosemirrorJSONToYDoc, updateYFragment, yXmlFragmentToProseMirrorRootNode } from '@tiptap/y-tiptap'
import * as Y from 'yjs'

const attributes = (...names) => Object.fromEntries(names.map(name => [name, { default: null }]))
const schema = getSchema([
  StarterKit.configure({ undoRedo: false }), TaskList, TaskItem.configure({ nested: true }),
  Node.create({ name: 'image', group: 'block', addAttributes: () => attributes('src', 'alt', 'title', 'width') }),
  Node.create({ name: 'mention', group: 'inline', inline: true, atom: true, addAttributes: () => attributes('id', 'label') }),
  Node.create({ name: 'callout', group: 'block', content: 'block*', addAttributes: () => attributes('kind', 'n', 'deep') }),
  Mark.create({ name: 'comment', excludes: '', addAttributes: () => attributes('id') }),
  Mark.create({ name: 'textStyle', addAttributes: () => attributes('color') })
])
const open = state => {
  const doc = new Y.Doc()
  Y.applyUpdate(doc, Buffer.from(state, 'base64'))
  return doc
}
const state = doc => Buffer.from(Y.encodeStateAsUpdate(doc)).toString('base64')
const nodeOf = json => { const node = ProseMirrorNode.fromJSON(schema, json); node.check(); return node }

const answers = {
  /** The tree as Tiptap completes it with its defaults, and as it stores it. */
  store: ({ json }) => {
    const node = nodeOf(json)
    return { json: node.toJSON(), state: state(prosemirrorJSONToYDoc(schema, node.toJSON(), 'default')) }
  },
  /** What Tiptap reads; it deletes what its schema does not take, so the document must stay what it is. */
  read: ({ state: given }) => {
    const doc = open(given)
    let changed = false
    doc.on('update', () => { changed = true })
    const node = yXmlFragmentToProseMirrorRootNode(doc.getXmlFragment('default'), schema)
    node.check()
    return { json: node.toJSON(), changed }
  },
  /** Tiptap's own edit of a document: what its binding does when the editor's content has become `json`. */
  edit: ({ state: given, json }) => {
    const doc = open(given)
    const meta = { mapping: new Map(), isOMark: new Map() }
    doc.transact(() => updateYFragment(doc, doc.getXmlFragment('default'), nodeOf(json), meta))
    return { state: state(doc) }
  },
  /** Where relative positions point: [index path to the text, offset]. */
  resolve: ({ state: given, positions }) => {
    const doc = open(given)
    doc.getXmlFragment('default')
    return positions.map(([json, binary]) => {
      const decoded = Y.decodeRelativePosition(Buffer.from(binary, 'base64'))
      const made = Y.createRelativePositionFromJSON(json)
      if (!Y.compareRelativePositions(decoded, made)) throw new Error(`${JSON.stringify(decoded)} is not ${JSON.stringify(made)}`)
      const { type, index } = Y.createAbsolutePositionFromRelativePosition(made, doc)
      const path = []
      for (let at = type; at.parent; at = at.parent) path.unshift(at.parent.toArray().indexOf(at))
      return [path, index]
    })
  },
  /** Relative positions to offsets in the text at a path of children. */
  mint: ({ state: given, points }) => {
    const doc = open(given)
    return points.map(([path, offset, assoc]) => {
      let type = doc.getXmlFragment('default')
      for (const at of path) type = type.get(at)
      return Y.relativePositionToJSON(Y.createRelativePositionFromTypeIndex(type, offset, assoc))
    })
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const [question, given] = JSON.parse(line)
  let answer
  try { answer = { answer: answers[question](given) } } catch (error) { answer = { error: String(error?.stack ?? error) } }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
