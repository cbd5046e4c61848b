// Who is signed in, for how long, and the buttons that change that.

import { byId, onPress, show } from './dom.js'
import { isBearer, leave, news, refresh, session, timeLeft } from './session.js'
import { clock, problem } from './words.js'

const HELD = {
  bearer: 'In the memory of this page. A reload forgets them.',
  cookie: 'In two HttpOnly cookies, which no script can read. This page has only a CSRF token.',
}

function clear() {
  show('you-problem')
  show('you-done')
}

onPress(byId('refresh'), async () => {
  clear()
  const answer = await refresh()
  if (answer.ok) show('you-done', 'A new pair of tokens. The old refresh token is used up.')
  else show('you-problem', problem(answer))
})

for (const [id, path] of [['sign-out', 'auth/logout'], ['sign-out-everywhere', 'auth/logout-all']]) {
  onPress(byId(id), async () => {
    clear()
    const answer = await leave('POST', path)
    if (!answer.ok) show('you-problem', problem(answer))
  })
}

byId('automatic').addEventListener('change', ({ target }) => { session.automatic = target.checked })

news.addEventListener('change', clear)

news.addEventListener('tokens', () => {
  byId('you-name').textContent = session.claims.username
  byId('you-id').textContent = session.claims.sub
  byId('you-session').textContent = session.claims.sid
  byId('you-transport').textContent = HELD[session.transport]
  showTime()
})

news.addEventListener('tick', showTime)
news.addEventListener('change', showTime)

function showTime() {
  if (session.state === 'out') return
  const left = timeLeft()
  byId('life').textContent = left > 0 ? clock(left) : '0:00: it has expired'
  byId('life-bar').value = Math.max(0, left / session.lifetime)
  const says = left > 0 ? `By its own claims it is good for ${clock(left)} more.` : 'By now it has expired, too.'
  byId('revoked-hint').textContent = isBearer() ?
    `The page still has the revoked token. ${says} Call it: the service refuses.` :
    'The cookies are gone, so no token goes with it.'
}
