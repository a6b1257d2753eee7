// Real Yjs, asked by conftest.py. One JSON request a line on stdin, one JSON answer a line on stdout:
//   {"make": [seed, ...]}            -> [{log: [update, ...], uploads: [index, ...]}, ...]  (updates in base64)
//   {"check": [{name, expected: [update, ...], actual: [update, ...], then: [update, ...]}, ...]} -> ["name: what differs", ...]
//   {"type": {patches: FILE, out: FILE}}  -> {state: update, text}      (a long text, one update a keystroke)
//   {"throws": [{before: [update, ...], update}, ...]} -> [error or null, ...]      (what applying `update` throws)
//   {"vectors": [[update, ...], ...]} -> [state vector, ...]                       (of a document made of the updates)
//   {"text": update}                 -> the text in it
// `make` plays a random history of several clients, with every kind of content. `check` applies both lists to empty
// documents and compares all that can be observed, then once more after `then`.
import fs from 'node:fs'
import readline from 'node:readline'
import * as Y from 'yjs'

const b64 = bytes => Buffer.from(bytes).toString('base64')
const bytes = text => new Uint8Array(Buffer.from(text, 'base64'))

// --- histories ---------------------------------------------------------------------------------------------------

const random = seed => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}

const words = ['a', 'b', 'héé', '😀', 'x😀y', '👩‍👩‍👧', '日本', ' ', 'hello world', '\n', 'zz', '𝒳𝒴', '\ud83d', '\ude00']
const keys = ['k', 'l', 'ключ', '']

class History {
  constructor (seed) {
    const r = random(seed)
    this.int = n => Math.floor(r() * n)
    this.pick = list => list[this.int(list.length)]
    this.log = []
    this.uploads = []
    this.vectors = [new Uint8Array([0])]
    const ids = [1 + this.int(120), 200 + this.int(9000), 0x80000000 + this.int(0x7fffffff), 2 ** 40 + this.int(2 ** 30)]
    this.clients = []
    for (let n = 2 + this.int(3); n--;) {
      const doc = new Y.Doc({ gc: this.int(6) > 0 })
      doc.clientID = ids.splice(this.int(ids.length), 1)[0]
      const client = { doc, inbox: [], undo: null, caret: 0 }
      for (const [name, type] of ROOTS) doc.get(name, type)
      client.undo = new Y.UndoManager([doc.getText('t'), doc.getMap('m'), doc.getArray('a'), doc.getXmlFragment('x')],
        { captureTimeout: 0, trackedOrigins: new Set(['user']) })
      doc.on('update', (update, origin) => {
        if (origin === 'remote') return
        this.log.push(b64(update))
        for (const other of this.clients) if (other !== client) other.inbox.push(update)
      })
      this.clients.push(client)
    }
  }

  play () {
    for (let steps = 20 + this.int(80); steps--;) {
      const client = this.pick(this.clients)
      if (this.int(4) === 0) this.vectors.push(Y.encodeStateVector(client.doc))
      const dice = this.int(100)
      if (dice < 40) this.type(client)
      else if (dice < 75) client.doc.transact(() => { for (let n = 1 + this.int(3); n--;) this.edit(client) }, 'user')
      else if (dice < 80) client.undo.undo()
      else if (dice < 83) client.undo.redo()
      else if (dice < 96) this.receive(client)
      else this.upload(client)
    }
    if (this.int(2)) for (const client of this.clients) this.upload(client)
    return { log: this.log, uploads: this.uploads }
  }

  receive (client) {
    // Often late, sometimes in another order: then Yjs keeps them pending.
    const batch = client.inbox.splice(0, 1 + this.int(client.inbox.length))
    if (this.int(3) === 0) batch.sort(() => this.int(3) - 1)
    for (const update of batch) Y.applyUpdate(client.doc, update, 'remote')
  }

  upload (client) {
    // A reconnecting client's step 2, against what some client once had: squashed, cut and repeated structs.
    this.uploads.push(this.log.length)
    this.log.push(b64(Y.encodeStateAsUpdate(client.doc, this.int(3) ? this.pick(this.vectors) : undefined)))
  }

  type (client) {
    const text = client.doc.getText('t')
    client.caret = Math.min(client.caret, text.length)
    if (this.int(8) === 0) client.caret = this.int(text.length + 1)
    for (let n = 1 + this.int(8); n--;) {
      client.doc.transact(() => {
        if (this.int(5) === 0 && client.caret > 0) text.delete(--client.caret, 1)
        else text.insert(client.caret++, this.pick(['e', 't', 'a', 'o', ' ', 'ß']))
      }, 'user')
    }
  }

  edit (client) {
    const doc = client.doc
    const targets = [doc.getText('t'), doc.getMap('m'), doc.getArray('a'), doc.getXmlFragment('x')]
    for (let n = this.int(4); n--;) {
      const inner = children(this.pick(targets))
      if (inner.length) targets.push(this.pick(inner))
    }
    const target = targets[targets.length > 4 && this.int(3) ? targets.length - 1 : this.int(4)]
    if (target instanceof Y.XmlHook || target instanceof Y.Map) this.map(target)
    else if (target instanceof Y.Text) this.text(target)
    else if (target instanceof Y.Array) this.array(target)
    else this.xml(target)
  }

  text (text) {
    const at = this.int(text.length + 1)
    const some = Math.min(text.length - at, 1 + this.int(5))
    switch (this.int(7)) {
      case 0: case 1: return text.insert(at, this.pick(words))
      case 2: return text.insert(at, this.pick(words), { [this.pick(['bold', 'em'])]: this.pick([true, null, { x: 1 }]) })
      case 3: return some && text.delete(at, some)
      case 4: return some && text.format(at, some, { [this.pick(['bold', 'em'])]: this.pick([true, null, 'é']) })
      case 5: return text.insertEmbed(at, this.pick([{ image: 'a😀.png' }, new Y.Map(), new Y.XmlText('in')]), this.pick([undefined, { w: 1 }]))
      case 6: return text.setAttribute ? text.setAttribute(this.pick(keys), this.scalar()) : text.insert(at, 'q')
    }
  }

  map (map) {
    const key = this.pick(keys)
    if (this.int(4) === 0) map.delete(key)
    else map.set(key, this.value())
  }

  array (array) {
    const at = this.int(array.length + 1)
    if (this.int(3) === 0 && at < array.length) array.delete(at, Math.min(array.length - at, 1 + this.int(3)))
    else array.insert(at, Array.from({ length: 1 + this.int(4) }, () => this.element()))
  }

  xml (node) {
    if (node instanceof Y.XmlElement && this.int(3) === 0) {
      if (this.int(4) === 0) node.removeAttribute(this.pick(keys))
      else node.setAttribute(this.pick(keys), this.pick(['v', 'w😀', 3, { deep: [1] }]))
      return
    }
    const at = this.int(node.length + 1)
    if (this.int(3) === 0 && at < node.length) return node.delete(at, Math.min(node.length - at, 1 + this.int(2)))
    node.insert(at, [this.pick([
      () => new Y.XmlText('text'), () => new Y.XmlElement('p'), () => new Y.XmlHook('hook😀'),
      () => { const p = new Y.XmlElement('h1'); p.insert(0, [new Y.XmlText('title'), new Y.XmlElement('br')]); return p }
    ])()])
  }

  scalar () {
    return this.pick([0, -0, 1, -1, 63, 64, -64, 2 ** 31, -(2 ** 40), 2 ** 53, 1.5, 0.1, NaN, Infinity, -Infinity, 5n, -(2n ** 62n), true, false,
      null, undefined, '', 'text', 'é😀', 'half \ud83d'])
  }

  element () {
    // What a Y.Array takes at its top level is less than what a Y.Map does.
    const value = this.value()
    return typeof value === 'bigint' || value === undefined ? [value] : value
  }

  value () {
    switch (this.int(9)) {
      case 0: return { a: this.scalar(), '😀': [this.scalar(), { deep: this.scalar() }], '': {} }
      case 1: return [this.scalar(), [], [[this.scalar()]], { u: undefined }]
      case 2: return new Uint8Array([0, 255, this.int(256)])
      case 3: return this.pick([() => new Y.Map([['x', 1]]), () => new Y.Array(), () => new Y.Text('nested'), () => Y.Array.from([1, 2])])()
      case 4: return new Y.Doc(this.pick([{ guid: 'g' + this.int(9) }, { guid: 'h', autoLoad: true }, { guid: 'i', meta: { big: 5n, n: null } }, { guid: 'j', gc: false }]))
      case 5: return this.pick([() => new Y.XmlElement('div'), () => new Y.XmlText('xt'), () => new Y.XmlFragment()])()
      default: return this.scalar()
    }
  }
}

const ROOTS = [['t', Y.Text], ['m', Y.Map], ['a', Y.Array], ['x', Y.XmlFragment]]

const children = type => {
  const found = []
  for (let item = type._start; item; item = item.right) if (!item.deleted && item.content instanceof Y.ContentType) found.push(item.content.type)
  for (const item of type._map.values()) if (!item.deleted && item.content instanceof Y.ContentType) found.push(item.content.type)
  return found
}

// --- comparison --------------------------------------------------------------------------------------------------

const plain = value => {
  if (value === undefined) return { $: 'undefined' }
  if (typeof value === 'bigint') return { $: 'bigint', value: String(value) }
  if (typeof value === 'number' && (Object.is(value, -0) || !Number.isFinite(value))) return { $: 'number', value: Object.is(value, -0) ? '-0' : String(value) }
  if (value instanceof Uint8Array) return { $: 'bytes', value: [...value] }
  if (value instanceof Y.AbstractType) return dump(value)
  if (Array.isArray(value)) return value.map(plain)
  // Pairs, not an object: the order of keys is part of what is kept.
  if (value !== null && typeof value === 'object') return { $: 'object', value: Object.keys(value).map(key => [key, plain(value[key])]) }
  return value
}

const dump = type => {
  const items = []
  for (let item = type._start; item; item = item.right) {
    if (item.deleted) continue
    const content = item.content
    if (content instanceof Y.ContentFormat) items.push({ format: content.key, value: plain(content.value) })
    else if (content instanceof Y.ContentEmbed) items.push({ embed: plain(content.embed) })
    else if (content instanceof Y.ContentDoc) items.push(subdocument(content))
    else if (content instanceof Y.ContentString) {
      const last = items[items.length - 1]
      if (last && last.text !== undefined) last.text += content.str
      else items.push({ text: content.str })
    } else items.push(...content.getContent().map(plain))
  }
  const map = [...type._map].filter(([, item]) => !item.deleted).sort(([a], [b]) => a < b ? -1 : 1)
    .map(([key, item]) => [key, item.content instanceof Y.ContentDoc ? subdocument(item.content) : plain(item.content.getContent()[item.length - 1])])
  return { kind: type.constructor.name, name: type.nodeName ?? type.hookName, items, map, length: type._length }
}

const subdocument = content => ({ $: 'doc', guid: content.doc.guid, opts: plain(content.opts), meta: plain(content.doc.meta), load: content.doc.shouldLoad, auto: content.doc.autoLoad, gc: content.doc.gc })

const ranges = pairs => {
  const clients = new Map()
  for (const [client, clock, length] of pairs) (clients.get(client) ?? clients.set(client, []).get(client)).push([clock, clock + length])
  return [...clients].sort(([a], [b]) => a - b).map(([client, list]) => {
    list.sort(([a], [b]) => a - b)
    const joined = []
    for (const [start, end] of list) {
      const last = joined[joined.length - 1]
      if (last && start <= last[1]) last[1] = Math.max(last[1], end)
      else joined.push([start, end])
    }
    return [client, joined]
  })
}

const deleteRanges = ds => ranges([...ds.clients].flatMap(([client, list]) => list.map(({ clock, len }) => [client, clock, len])))

const observe = doc => {
  const seen = {}
  for (const [name, type] of ROOTS) seen[name] = dump(doc.get(name, type))
  seen.delta = doc.getText('t').toDelta().map(plain)
  seen.xml = doc.getXmlFragment('x').toString()
  seen.vector = [...Y.decodeStateVector(Y.encodeStateVector(doc))].sort(([a], [b]) => a - b)
  seen.deletes = deleteRanges(Y.snapshot(doc).ds)
  const { pendingStructs, pendingDs } = doc.store
  const have = new Map(seen.vector)
  const waiting = pendingStructs === null ? [] : Y.decodeUpdateV2(pendingStructs.update).structs.filter(struct => !(struct instanceof Y.Skip))
  seen.pending = ranges(waiting.filter(({ id, length }) => id.clock + length > (have.get(id.client) ?? 0)).map(({ id, length }) => [id.client, id.clock, length]))
  seen.pendingDeletes = pendingDs === null ? [] : deleteRanges(Y.decodeUpdateV2(pendingDs).ds)
  return seen
}

const covers = (outer, inner) => {
  const clients = new Map(outer)
  return inner.every(([client, list]) => list.every(([start, end]) => (clients.get(client) ?? []).some(([from, to]) => from <= start && end <= to)))
}

const ahead = (ours, theirs) => {
  const clocks = new Map(ours)
  return theirs.every(([client, clock]) => (clocks.get(client) ?? 0) >= clock)
}

const apply = (doc, updates) => { for (const update of updates) Y.applyUpdate(doc, bytes(update)) }

const reader = () => {
  const doc = new Y.Doc()
  // A reader deletes formats that became redundant, once a transaction: how many depends on how the updates were
  // batched, for Yjs alone as well.
  doc.on('afterTransaction', transaction => { transaction._needFormattingCleanup = false })
  return doc
}

const check = ({ name, expected, actual, then }) => {
  const want = reader()
  const got = reader()
  try {
    apply(want, expected)
    apply(got, actual)
    for (const more of [[], then ?? []]) {
      apply(want, more)
      apply(got, more)
      const a = observe(want)
      const b = observe(got)
      // What we collected inside a deleted type waits for nothing any more, so ours may be ahead while there are gaps.
      if (String(a.vector) !== String(b.vector) && a.pending.length && ahead(b.vector, a.vector)) continue
      for (const part of Object.keys(a)) {
        const x = JSON.stringify(a[part])
        const y = JSON.stringify(b[part])
        // What lies inside a deleted type we may call deleted before Yjs has got far enough to see it.
        const same = part === 'pendingDeletes' ? covers(b[part], a[part]) : x === y
        if (!same) return [`${name}: ${part}\n  yjs  ${x.slice(0, 1500)}\n  ours ${y.slice(0, 1500)}`]
      }
    }
  } catch (error) {
    return [`${name}: ${error.stack}`]
  }
  return []
}

const vector = updates => {
  const doc = new Y.Doc()
  apply(doc, updates)
  return b64(Y.encodeStateVector(doc))
}

const throws = ({ before, update }) => {
  const doc = new Y.Doc()
  apply(doc, before)
  try {
    apply(doc, [update])
  } catch (error) {
    return String(error.stack)
  }
  return null
}

// --- a long text, one update a keystroke -------------------------------------------------------------------------

// {"type": {"patches": FILE, "out": FILE}}: plays [[at, delete, insert], ...] and writes the updates to `out`, each
// after its length (4 bytes, little endian). Answers with Yjs's own encoding of the result and its text.
const type = ({ patches, out }) => {
  const doc = new Y.Doc()
  doc.clientID = 0xc0000001
  const text = doc.getText('t')
  const file = fs.openSync(out, 'w')
  const parts = []
  doc.on('update', update => {
    const size = Buffer.alloc(4)
    size.writeUInt32LE(update.length)
    parts.push(size, update)
    if (parts.length > 4096) fs.writeSync(file, Buffer.concat(parts.splice(0)))
  })
  for (const [at, remove, insert] of JSON.parse(fs.readFileSync(patches, 'utf8'))) {
    doc.transact(() => {
      if (remove) text.delete(at, remove)
      if (insert) text.insert(at, insert)
    })
  }
  fs.writeSync(file, Buffer.concat(parts))
  fs.closeSync(file)
  return { state: b64(Y.encodeStateAsUpdate(doc)), text: text.toString() }
}

const textOf = update => {
  const doc = new Y.Doc()
  Y.applyUpdate(doc, bytes(update))
  return doc.getText('t').toString()
}

console.error = () => {} // Yjs remarks on subdocuments that are copied by undo.
for await (const line of readline.createInterface({ input: process.stdin })) {
  const request = JSON.parse(line)
  let answer
  if (request.make) answer = request.make.map(seed => new History(seed).play())
  else if (request.check) answer = request.check.flatMap(check)
  else if (request.throws) answer = request.throws.map(throws)
  else if (request.vectors) answer = request.vectors.map(vector)
  else if (request.type) answer = type(request.type)
  else answer = textOf(request.text)
  process.stdout.write(JSON.stringify(answer) + '\n')
}
