// The form that registers and signs in.

import { send } from './api.js'
import { byId, onPress, onSubmit, show, showFieldProblem } from './dom.js'
import { isBearer, news, session, signIn } from './session.js'
import { fieldProblem, problem } from './words.js'

const form = byId('sign-in')

function clear() {
  for (const id of ['username', 'password']) showFieldProblem(id)
  show('sign-in-problem')
  show('sign-in-done')
}

// Returns name and password, or nothing if a field is empty, which is then said beside it.
function typed() {
  clear()
  const fields = { username: byId('username').value.trim(), password: byId('password').value }
  const empty = Object.keys(fields).filter(id => fields[id] === '')
  for (const id of empty) showFieldProblem(id, `Type a ${id}.`)
  if (empty.length === 0) return fields
  byId(empty[0]).focus()
}

// Shows what is wrong next to what caused it.
function refuse(answer) {
  const { error, fields } = answer
  if (fields) {
    for (const id of ['username', 'password']) showFieldProblem(id, fieldProblem(id, fields[id]))
    byId(fields.username ? 'username' : 'password').focus()
  } else if (error === 'username_taken') {
    showFieldProblem('username', problem(answer))
    byId('username').focus()
  } else {
    show('sign-in-problem', problem(answer))
    if (error === 'invalid_credentials') byId('password').focus()
  }
}

onSubmit(form, async () => {
  const user = typed()
  if (!user) return
  const answer = await signIn(form.elements.transport.value, user.username, user.password)
  if (!answer.ok) return refuse(answer)
  form.elements.password.value = ''
})

onPress(byId('register'), async () => {
  const user = typed()
  if (!user) return
  const answer = await send('POST', 'auth/register', { body: user })
  if (!answer.ok) return refuse(answer)
  show('sign-in-done', `${answer.body.username} is registered. Now sign in.`)
  form.querySelector('[type=submit]').focus()
})

const ENDED = {
  'signed out': 'You are signed out. The session is revoked, with all its tokens.',
  elsewhere: 'Your session has ended. It was revoked, or it has expired.',
}

news.addEventListener('change', () => {
  clear()
  const notice = byId('notice')
  notice.textContent = session.state === 'over' ? ENDED[session.reason] : ''
  if (session.state === 'over') byId(session.transport).checked = true
  if (session.state === 'over' && isBearer()) notice.append(' The page still has the access token.')
})
