// A token for one use.

import { send } from './api.js'
import { byId, onPress, show } from './dom.js'
import { call, news } from './session.js'
import { clock, problem, shorten } from './words.js'

let token
let expiresAt

onPress(byId('once-get'), async () => {
  const answer = await call('POST', 'auth/single-use')
  show('once-problem', answer.ok ? undefined : problem(answer))
  if (!answer.ok) return
  token = answer.body.access_token
  expiresAt = Date.now() + answer.body.expires_in * 1000
  byId('once-spend').hidden = false
  show('once-answer')
  showToken()
})

onPress(byId('once-spend'), async () => {
  // It goes into the header in either mode. A cookie beside it would be a second credential.
  const answer = await send('POST', 'demo/single-use', { token })
  byId('once-answer').dataset.kind = answer.ok ? 'good' : 'bad'
  show('once-answer', sentence(answer))
})

function sentence(answer) {
  if (answer.ok) return `${answer.status}: accepted. The token is used up.`
  if (answer.error === 'invalid_token') return `${answer.status}: refused. The token is used up or has expired.`
  return problem(answer)
}

function showToken() {
  if (!token) return
  const left = expiresAt - Date.now()
  show('once-token', `${shorten(token)}, ${left > 0 ? `good for ${clock(left)}` : 'expired'}`)
}

news.addEventListener('tick', showToken)

news.addEventListener('change', () => {
  token = undefined
  byId('once-spend').hidden = true
  show('once-token')
  show('once-answer')
  show('once-problem')
})
