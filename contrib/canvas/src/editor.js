import { Editor } from '@tiptap/core'
import { Collaboration } from '@tiptap/extension-collaboration'
import { CollaborationCaret } from '@tiptap/extension-collaboration-caret'
import { TaskItem, TaskList } from '@tiptap/extension-list'
import { Placeholder } from '@tiptap/extensions'
import StarterKit from '@tiptap/starter-kit'
import { colour, label } from './people.js'

const caret = user => {
  const mark = document.createElement('span')
  mark.className = 'caret'
  mark.style.setProperty('--caret', colour(user.color))
  const flag = document.createElement('span')
  flag.textContent = label(user)
  mark.append('\u2060', flag, '\u2060')
  return mark
}

/** A rich-text editor bound to `doc`, with the carets of everyone that `provider` knows. */
export const createEditor = (element, doc, provider, user) => new Editor({
  element,
  editable: false,
  injectCSS: false,
  extensions: [
    StarterKit.configure({ undoRedo: false, heading: { levels: [1, 2, 3] }, link: { openOnClick: false } }),
    TaskList,
    TaskItem.configure({ nested: true }),
    Placeholder.configure({ placeholder: 'Write something. Everyone with this page open sees it as you type.' }),
    Collaboration.configure({ document: doc }),
    CollaborationCaret.configure({
      provider,
      user: { ...user },
      render: caret,
      selectionRender: other => ({ class: 'selection', style: `--caret: ${colour(other.color)}` }),
    }),
  ],
  editorProps: { attributes: { role: 'textbox', 'aria-multiline': 'true', 'aria-label': 'Document text' } },
})
