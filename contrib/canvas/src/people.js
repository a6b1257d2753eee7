const COLOURS = ['#c2410c', '#a16207', '#3f7d20', '#0f766e', '#0369a1', '#4f46e5', '#9333ea', '#be185d', '#b91c1c', '#475569']
const ANIMALS = ['Otter', 'Heron', 'Lynx', 'Wren', 'Badger', 'Ibex', 'Marten', 'Plover', 'Seal', 'Vole', 'Dormouse', 'Kestrel']
const SHOWN = 5

const pick = list => list[Math.floor(Math.random() * list.length)]

/** Storage may be forbidden (private windows); the page works without it. */
const stored = (key, fresh) => {
  try {
    const value = localStorage.getItem(key) ?? fresh
    localStorage.setItem(key, value)
    return value
  } catch {
    return fresh
  }
}

/** Who sits at this window, as the others see them. */
export const me = { name: stored('relay.name', pick(ANIMALS)), color: pick(COLOURS) }

/** Take another name; an empty one gets an animal. Returns the user to announce. */
export const rename = name => {
  me.name = name.trim() || pick(ANIMALS)
  try { localStorage.setItem('relay.name', me.name) } catch { /* as above */ }
  return { ...me }
}

const initials = name => {
  const words = name.trim().split(/\s+/)
  return (words.length > 1 ? [words[0], words.at(-1)] : words).map(word => [...word][0] ?? '').join('').toUpperCase() || '?'
}

/** Colours come from other people's browsers: only a plain hex colour is let into a style. */
export const colour = value => (/^#[0-9a-f]{6}$/i.test(value) ? value : '#475569')

export const label = user => (typeof user?.name === 'string' && user.name.trim() ? user.name.slice(0, 40) : 'Someone')

/** Keep the row of avatars equal to the presence of the document. */
export const showPeople = (list, awareness) => {
  let before = ''
  const draw = () => {
    const people = [...awareness.getStates()]
      .filter(([, state]) => state.user)
      .map(([id, { user }]) => ({ me: id === awareness.clientID, name: label(user), color: colour(user.color) }))
      .sort((a, b) => b.me - a.me || a.name.localeCompare(b.name))
    const now = JSON.stringify(people)
    if (now === before) return
    before = now
    const items = people.slice(0, SHOWN).map(person => {
      const item = document.createElement('li')
      const words = person.me ? `${person.name} (you)` : person.name
      item.style.background = person.color
      item.textContent = initials(person.name)
      item.title = words
      item.setAttribute('role', 'img')
      item.setAttribute('aria-label', words)
      return item
    })
    if (people.length > SHOWN) {
      const item = document.createElement('li')
      item.className = 'more'
      item.textContent = `+${people.length - SHOWN}`
      item.title = people.slice(SHOWN, 40).map(person => person.name).join(', ')
      items.push(item)
    }
    list.replaceChildren(...items)
  }
  awareness.on('change', draw)
  draw()
}
