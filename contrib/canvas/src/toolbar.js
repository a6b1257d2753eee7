const apple = /Mac|iP/.test(navigator.platform)
const key = keys => keys.replace('Mod', apple ? '⌘' : 'Ctrl').replace('Alt', apple ? '⌥' : 'Alt').replace('Shift', apple ? '⇧' : 'Shift')

/** [what a screen reader says, shortcut, glyph or path, command, active mark or node, its attributes] */
const TOOLS = [
  ['Bold', 'Mod+B', 'M7 5h6a3.5 3.5 0 0 1 0 7H7zM7 12h7a3.5 3.5 0 0 1 0 7H7z', chain => chain.toggleBold(), 'bold'],
  ['Italic', 'Mod+I', 'M10 5h8M6 19h8M14 5l-4 14', chain => chain.toggleItalic(), 'italic'],
  ['Underline', 'Mod+U', 'M7 4v7a5 5 0 0 0 10 0V4M5 20h14', chain => chain.toggleUnderline(), 'underline'],
  ['Strikethrough', 'Mod+Shift+S', 'M4 12h16M17 7a4 4 0 0 0-4-3h-2a3.5 3.5 0 0 0-3 5.5M7 17a4 4 0 0 0 4 3h2a3.6 3.6 0 0 0 3-6', chain => chain.toggleStrike(), 'strike'],
  ['Code', 'Mod+E', 'M8 7l-5 5 5 5M16 7l5 5-5 5', chain => chain.toggleCode(), 'code'],
  null,
  ['Heading 1', 'Mod+Alt+1', 'H1', chain => chain.toggleHeading({ level: 1 }), 'heading', { level: 1 }],
  ['Heading 2', 'Mod+Alt+2', 'H2', chain => chain.toggleHeading({ level: 2 }), 'heading', { level: 2 }],
  null,
  ['Bullet list', 'Mod+Shift+8', 'M9 6h11M9 12h11M9 18h11M4 6h.01M4 12h.01M4 18h.01', chain => chain.toggleBulletList(), 'bulletList'],
  ['Numbered list', 'Mod+Shift+7', 'M10 6h10M10 12h10M10 18h10M4 4.5l1.5-.5v4M4 14.5c0-1.5 2.5-1.5 2.5 0S4 18 4 18h2.5', chain => chain.toggleOrderedList(), 'orderedList'],
  ['Task list', 'Mod+Shift+9', 'M4 6l1.5 1.5L8 5M4 16l1.5 1.5L8 15M11.5 6.5H20M11.5 16.5H20', chain => chain.toggleTaskList(), 'taskList'],
  ['Quote', 'Mod+Shift+B', 'M5 17h3l2-4V7H4v6h3zM15 17h3l2-4V7h-6v6h3z', chain => chain.toggleBlockquote(), 'blockquote'],
  null,
  ['Undo your last change', 'Mod+Z', 'M8 5L4 9l4 4M4 9h10a5 5 0 0 1 0 10h-3', chain => chain.undo()],
  ['Redo', 'Mod+Shift+Z', 'M16 5l4 4-4 4M20 9H10a5 5 0 0 0 0 10h3', chain => chain.redo()],
]

const drawn = path => {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
  svg.setAttribute('viewBox', '0 0 24 24')
  svg.setAttribute('aria-hidden', 'true')
  const line = document.createElementNS('http://www.w3.org/2000/svg', 'path')
  line.setAttribute('d', path)
  svg.append(line)
  return svg
}

/** Fill `bar` with buttons; one tab stop, arrow keys inside, as the ARIA toolbar pattern has it. */
export const createToolbar = (bar, editor) => {
  const buttons = []
  for (const tool of TOOLS) {
    if (!tool) {
      const gap = document.createElement('hr')
      gap.setAttribute('aria-orientation', 'vertical')
      bar.append(gap)
      continue
    }
    const [says, keys, face, run, mark, attributes] = tool
    const button = document.createElement('button')
    button.type = 'button'
    button.title = `${says} (${key(keys)})`
    button.setAttribute('aria-label', says)
    button.append(face.length > 2 ? drawn(face) : face)
    button.tabIndex = buttons.length ? -1 : 0
    button.addEventListener('mousedown', event => event.preventDefault())
    button.addEventListener('click', () => run(editor.chain().focus()).run())
    buttons.push({ button, run, mark, attributes })
    bar.append(button)
  }
  bar.addEventListener('keydown', event => {
    const able = buttons.map(({ button }) => button).filter(button => !button.disabled)
    const at = able.indexOf(document.activeElement)
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: able.length - 1 }[event.key]
    if (at < 0 || to === undefined) return
    event.preventDefault()
    able[at].tabIndex = -1
    const next = able[(to + able.length) % able.length]
    next.tabIndex = 0
    next.focus()
  })
  let waiting = false
  const draw = () => {
    waiting = false
    for (const { button, run, mark, attributes } of buttons) {
      const able = editor.isEditable && (mark !== undefined || run(editor.can().chain()).run())
      button.disabled = !able
      if (mark) button.setAttribute('aria-pressed', String(editor.isActive(mark, attributes)))
      if (!able && button.tabIndex === 0) {
        // a disabled button must not hold the only tab stop
        button.tabIndex = -1
        buttons[0].button.tabIndex = 0
      }
    }
  }
  const ask = () => {
    if (waiting) return
    waiting = true
    requestAnimationFrame(draw)
  }
  editor.on('transaction', ask)
  editor.on('update', ask)
  draw()
}
