// The list of the user's sessions.

import { serverNow } from './api.js'
import { byId, element, onPress, show } from './dom.js'
import { call, leave, news, session } from './session.js'
import { count, device, problem, relative } from './words.js'

async function load(isBackground) {
  const answer = await call('GET', 'auth/sessions', { isBackground })
  if (session.state !== 'in') return
  if (!answer.ok) return show('sessions-problem', problem(answer))
  show('sessions-problem')
  const latestFirst = answer.body.toSorted((one, other) => other.last_used_at.localeCompare(one.last_used_at))
  byId('sessions').replaceChildren(...latestFirst.map(row))
}

function time(moment, before) {
  const date = new Date(moment)
  return element('span', {}, `${before} `,
    element('time', { dateTime: moment, title: date.toLocaleString() }, relative(date, serverNow())))
}

function row({ session_id: id, user_agent: userAgent, created_at, last_used_at, expires_at, current }) {
  const name = device(userAgent)
  const title = element('p', { className: 'device', id: `device-${id}` }, name)
  if (current) title.append(' ', element('span', { className: 'badge' }, 'this session'))
  const times = element('p', { className: 'soft times' }, time(created_at, 'signed in'), time(last_used_at, 'last used'),
    time(expires_at, 'ends'))
  const button = element('button', { type: 'button', className: 'small secondary', id: `end-${id}` }, 'End')
  button.setAttribute('aria-labelledby', `end-${id} device-${id}`)
  onPress(button, () => endSession(id, current))
  return element('li', {}, element('div', {}, title, times), button)
}

async function endSession(id, isCurrent) {
  show('sessions-done')
  const answer = await (isCurrent ? leave : call)('DELETE', `auth/sessions/${id}`)
  if (!answer.ok) return show('sessions-problem', problem(answer))
  if (isCurrent) return
  await load(true)
  const left = byId('sessions').childElementCount
  show('sessions-done', `The session is ended. ${count(left, 'session')} ${left === 1 ? 'is' : 'are'} open.`)
  byId('reload-sessions').focus()
}

onPress(byId('reload-sessions'), () => {
  show('sessions-done')
  return load(false)
})

news.addEventListener('tokens', () => load(true))

// Another part of the page may have ended sessions.
news.addEventListener('sessions', () => load(true))

news.addEventListener('change', () => {
  if (session.state === 'in') return
  byId('sessions').replaceChildren()
  show('sessions-problem')
  show('sessions-done')
})
