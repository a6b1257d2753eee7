import * as Y from 'yjs'
import { Connection } from './connection.js'
import { createEditor } from './editor.js'
import { me, rename, showPeople } from './people.js'
import { createToolbar } from './toolbar.js'

const element = id => document.getElementById(id)
const query = new URLSearchParams(location.search)
const name = query.get('doc') || 'welcome'
const token = query.get('token')

/** The page's own address for a document, the token carried along. */
const address = doc => '?' + new URLSearchParams(token ? { doc, token } : { doc })

document.title = `${name} · Relay`
element('name').value = name
element('another').href = address(name)
element('open').addEventListener('submit', event => {
  event.preventDefault()
  const wanted = element('name').value.trim()
  if (wanted && wanted !== name) location.assign(address(wanted))
  else editor.commands.focus()
})

const doc = new Y.Doc()
const connection = new Connection(doc, name, token)
const editor = createEditor(element('text'), doc, connection.provider, me)
createToolbar(element('tools'), editor)
showPeople(element('people'), connection.awareness)

element('you').value = me.name
element('you').addEventListener('change', () => {
  const user = rename(element('you').value)
  element('you').value = user.name
  editor.commands.updateUser(user)
})

/** What the page says for each state of the connection; one line, true at all times. */
const WORDS = {
  connecting: ['busy', 'Connecting…'],
  loading: ['busy', 'Loading the document…'],
  connected: ['good', 'Connected'],
  saving: ['busy', 'Saving…'],
  late: ['bad', 'Not saved yet: the server has not confirmed'],
  saved: ['good', 'Saved'],
  readonly: ['bad', 'Read only: your changes are not saved'],
  offline: ['bad', 'Offline, trying again'],
  kept: ['bad', 'Offline, your edits are kept in this window'],
  refused: ['bad', 'Not connected'],
}

connection.onchange = () => {
  const [kind, words] = WORDS[connection.state]
  const state = element('state')
  if (state.textContent !== words) state.textContent = words
  state.dataset.kind = kind
  const editable = connection.loaded && !connection.refusal && !connection.readonly
  if (editor.isEditable !== editable) {
    editor.setEditable(editable)
    if (editable && document.activeElement === document.body) editor.commands.focus('start', { scrollIntoView: false })
  }
  tell(connection.refusal ?? (connection.hint && `${connection.hint}. Trying again.`), connection.refusal !== null)
}

const tell = (words, ended) => {
  const notice = element('notice')
  notice.hidden = !words
  if (!words || notice.firstChild?.textContent === words) return
  notice.replaceChildren(document.createTextNode(words))
  if (!ended) return
  const again = document.createElement('button')
  again.type = 'button'
  again.textContent = 'Try again'
  again.addEventListener('click', () => connection.retry())
  notice.append(again)
}
connection.onchange()

const words = new Intl.Segmenter(undefined, { granularity: 'word' })
let counting
editor.on('update', () => {
  clearTimeout(counting)
  counting = setTimeout(() => {
    let count = 0
    for (const part of words.segment(editor.getText())) if (part.isWordLike) count++
    element('count').textContent = count === 1 ? '1 word' : `${count.toLocaleString()} words`
  }, 300)
})

addEventListener('beforeunload', event => {
  if (connection.unsaved) event.preventDefault()
})
