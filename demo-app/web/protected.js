// Calls of the protected route, and the claims of the token.

import { send } from './api.js'
import { byId, element, onPress, show } from './dom.js'
import { explain } from './claims.js'
import { call, isBearer, isRevokedTokenHeld, news, session } from './session.js'
import { problem, shorten } from './words.js'

function showAnswer(answer, sentence) {
  byId('me-answer').dataset.kind = answer.ok ? 'good' : 'bad'
  show('me-answer', sentence)
}

onPress(byId('call-me'), async () => {
  const isRevoked = isRevokedTokenHeld()
  const answer = await call('GET', 'me')
  if (answer.ok) {
    showAnswer(answer, `${answer.status}: let in. The service knows you as ${answer.body.username}.`)
  } else if (isRevoked && answer.error === 'invalid_token') {
    showAnswer(answer, `${answer.status}: refused. The signature is still right, but the token's record is revoked.`)
  } else {
    showAnswer(answer, refusal(answer))
  }
})

onPress(byId('call-bare'), async () => {
  const answer = await send('GET', 'me')
  showAnswer(answer, refusal(answer))
})

function refusal(answer) {
  if (answer.error === 'unauthorized') return `${answer.status}: refused. The request had no token.`
  return answer.status ? `${answer.status}: ${problem(answer)}` : problem(answer)
}

function row({ name, value, time, meaning, isNew }) {
  const shown = element('dd', { className: 'value' }, element('code', {}, value))
  if (time) shown.append(' ', element('time', { dateTime: time.toISOString() }, time.toLocaleTimeString()))
  const term = element('dt', {}, element('code', {}, name))
  if (isNew) term.append(' ', element('span', { className: 'badge' }, 'new'))
  return element('div', {}, term, shown, element('dd', { className: 'meaning' }, meaning))
}

function showToken() {
  const parts = byId('token-parts')
  parts.replaceChildren()
  if (isBearer()) {
    const kinds = ['header', 'claims', 'signature']
    session.access.split('.').forEach((part, place) => {
      parts.append(place ? '.' : '', element('span', { className: kinds[place] }, shorten(part)))
    })
  }
  parts.hidden = !isBearer()
  const header = isBearer() ? explain(session.header) : []
  byId('claims').replaceChildren(...[...header, ...explain(session.claims, session.before)].map(row))
}

function showNote() {
  byId('token-note').textContent = isBearer() ?
    'Header, claims and signature. It is signed, not encrypted: whoever has it can read it.' :
    'The cookie is hidden from this script. These are the claims that GET /me returned.'
}

news.addEventListener('tokens', () => {
  showToken()
  showNote()
})

news.addEventListener('change', () => {
  show('me-answer')
})
