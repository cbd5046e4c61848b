// The form that changes the password. It is in the document while somebody is signed in: a signed-out
// page has one field for a password.

import { byId, onSubmit, show, showFieldProblem } from './dom.js'
import { call, news, session } from './session.js'
import { fieldProblem, problem } from './words.js'

news.addEventListener('change', () => {
  const place = byId('password-place')
  place.replaceChildren()
  if (session.state !== 'in') return
  place.append(byId('password-card').content.cloneNode(true))
  onSubmit(byId('change'), change)
})

async function change() {
  const [current, next] = [byId('current'), byId('new')]
  showFieldProblem('current', current.value ? undefined : 'Type your current password.')
  showFieldProblem('new', next.value ? undefined : 'Type a new password.')
  show('change-problem')
  show('change-done')
  if (!current.value || !next.value) return (current.value ? next : current).focus()
  const body = { current_password: current.value, new_password: next.value }
  const answer = await call('POST', 'auth/password', { body })
  // The session may have ended meanwhile, and the form with it.
  if (!byId('change')) return
  if (answer.ok) {
    byId('change').reset()
    show('change-done', 'The password is changed. All other sessions have ended.')
    news.dispatchEvent(new Event('sessions'))
  } else if (answer.error === 'invalid_credentials') {
    showFieldProblem('current', 'This is not your current password.')
    current.focus()
  } else if (answer.fields?.new_password) {
    showFieldProblem('new', fieldProblem('new password', answer.fields.new_password))
    next.focus()
  } else {
    show('change-problem', problem(answer))
  }
}
