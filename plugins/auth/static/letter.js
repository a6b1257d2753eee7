// One page for every link that people get: its path says what for, its query holds the token, good once.
const LETTERS = {
  '/setup': {
    title: 'Own this server', about: 'Nobody does yet. Make the first account; it may do everything.',
    fields: ['name', 'email', 'password'], button: 'Make the account', post: '/v1/auth/setup', as: 'token',
    done: 'You own this server. Log in with your editor, or look around in the <a href="/docs">API</a>.',
  },
  '/register': {
    title: 'You are invited', about: 'Make an account of yours.',
    fields: ['name', 'email', 'password'], button: 'Make the account', post: '/v1/auth/register', as: 'invitation',
    done: 'Your account is there. You can log in now.',
  },
  '/reset': {
    title: 'A new password', about: 'Everywhere that you are logged in you will be logged out.',
    fields: ['password'], button: 'Set the password', post: '/v1/auth/password:reset', as: 'token',
    done: 'The password is set. You can log in with it.',
  },
  '/verify': {
    title: 'Your address', about: 'One click, and we know that this address is yours.',
    fields: [], button: 'It is mine', post: '/v1/auth/email:verify', as: 'token', done: 'Thank you.',
  },
}

const letter = LETTERS[location.pathname]
const query = new URLSearchParams(location.search)
const token = query.get('token') ?? query.get('invitation')
const form = document.querySelector('form')
const said = document.querySelector('#said')

document.title = `${letter.title} · Materi`
document.querySelector('h1').textContent = letter.title
document.querySelector('#about').textContent = token ? letter.about : 'This link is not whole: copy all of it.'
document.querySelector('button').textContent = letter.button
for (const field of form.querySelectorAll('[data-field]')) {
  const wanted = letter.fields.includes(field.dataset.field)
  field.hidden = !wanted
  field.querySelector('input').disabled = !wanted
  field.querySelector('input').required = wanted
}
form.hidden = !token
form.querySelector('input:enabled')?.focus()

form.addEventListener('submit', async event => {
  event.preventDefault()
  const button = form.querySelector('button')
  button.disabled = true
  said.textContent = 'A moment …'
  try {
    const answer = await fetch(letter.post, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ [letter.as]: token, ...Object.fromEntries(new FormData(form)) }),
    })
    if (answer.ok) {
      form.hidden = true
      document.querySelector('#about').textContent = ''
      said.innerHTML = letter.done
      history.replaceState(null, '', location.pathname) // the token was good once
      return
    }
    const problem = await answer.json()
    const where = (problem.errors ?? []).map(error => `${(error.pointer ?? '').slice(1)}: ${error.detail}`)
    said.textContent = [problem.detail ?? problem.title, ...where].join(' ')
  } catch {
    said.textContent = 'The server does not answer. Try again in a moment.'
  }
  button.disabled = false
})
