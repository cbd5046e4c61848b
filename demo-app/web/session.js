// The session of the page: who is signed in, and how the page holds the tokens.
//
// In bearer mode the tokens are in memory and nowhere else. In cookie mode the browser has them, and
// the page has the CSRF token, which sessionStorage keeps over a reload.

import { send, serverNow } from './api.js'
import { decode } from './claims.js'

const CSRF = 'csrf_token'

// `out`: nobody is signed in. `in`: somebody is. `over`: somebody was, and the session has ended.
export const session = { state: 'out', automatic: true }

// Tells of `change` (another state), `tokens` (other tokens or claims) and `tick` (a second).
export const news = new EventTarget()

const tell = name => news.dispatchEvent(new Event(name))

// Returns the time left of the access token, in milliseconds; below 0 once it has expired.
export function timeLeft() {
  return session.expiresAt - Date.now()
}

export function isBearer() {
  return session.transport === 'bearer'
}

// Returns what a request of this session carries.
function credentials(method) {
  if (isBearer()) return { token: session.access }
  return { cookies: true, csrf: method === 'GET' ? undefined : session.csrf }
}

// Signs in, and returns the answer.
export async function signIn(transport, username, password) {
  const path = transport === 'cookie' ? 'auth/login?transport=cookie' : 'auth/login'
  const answer = await send('POST', path, { body: { username, password }, cookies: transport === 'cookie' })
  if (!answer.ok) return answer
  const opened = { transport, claims: undefined, before: undefined, reason: undefined }
  if (transport === 'cookie') {
    const me = await send('GET', 'me', { cookies: true, isBackground: true })
    if (me.error === 'unauthorized') {
      const description = 'The browser has not kept the cookies: it wants HTTPS for them. Sign in with Bearer'
      return { ...me, error: 'cookies', description }
    }
    if (!me.ok) return me
    opened.claims = me.body.claims
  }
  Object.assign(session, opened)
  take(answer)
  enter()
  return answer
}

// After a reload, goes on with the session of the cookies.
export async function resume() {
  const csrf = sessionStorage.getItem(CSRF)
  if (!csrf) return
  Object.assign(session, { transport: 'cookie', csrf })
  let me = await send('GET', 'me', { cookies: true, isBackground: true })
  if (me.error === 'unauthorized') {
    // The cookie with the access token has expired; the other one may live.
    const refreshed = await send('POST', 'auth/refresh', { cookies: true, csrf, isBackground: true })
    if (refreshed.ok) me = await send('GET', 'me', { cookies: true, isBackground: true })
  }
  if (!me.ok) {
    if (me.status === 401) sessionStorage.removeItem(CSRF)
    return
  }
  const { claims } = me.body
  const expiresAt = claims.exp * 1000 - (serverNow() - Date.now())
  Object.assign(session, { claims, expiresAt, lifetime: (claims.exp - claims.iat) * 1000 })
  enter()
}

function enter() {
  session.state = 'in'
  tell('change')
  tell('tokens')
}

// Takes the tokens of an answer over.
function take({ body }) {
  session.lifetime = body.expires_in * 1000
  session.expiresAt = Date.now() + session.lifetime
  if (isBearer()) {
    const { header, claims } = decode(body.access_token)
    Object.assign(session, { access: body.access_token, refresh: body.refresh_token, header, claims })
  } else {
    session.csrf = body.csrf_token
    sessionStorage.setItem(CSRF, session.csrf)
  }
}

let refreshing

// Exchanges the refresh token. Calls at one time share one request: the token is good once.
export function refresh(isBackground = false) {
  refreshing ??= exchange(isBackground).finally(() => { refreshing = undefined })
  return refreshing
}

async function exchange(isBackground) {
  const before = session.claims
  const body = isBearer() ? { refresh_token: session.refresh } : undefined
  const answer = await send('POST', 'auth/refresh', {
    body, isBackground, cookies: !isBearer(), csrf: isBearer() ? undefined : session.csrf,
  })
  // The user may have signed out meanwhile.
  if (session.state !== 'in') return answer
  if (answer.error === 'invalid_grant') end('elsewhere')
  if (!answer.ok) return answer
  session.before = before
  take(answer)
  if (!isBearer()) {
    const me = await send('GET', 'me', { cookies: true, isBackground: true })
    if (me.ok) session.claims = me.body.claims
  }
  tell('tokens')
  return answer
}

// Sends a request of this session. A token that is about to expire is exchanged first.
export async function call(method, path, options = {}) {
  if (session.state === 'in' && session.automatic && timeLeft() < 1_000) await refresh(true)
  if (session.state !== 'in' && !isRevokedTokenHeld()) return send(method, path, options)
  const isLive = session.state === 'in' && timeLeft() > 0
  const answer = await send(method, path, { ...options, ...credentials(method) })
  // A token that has not expired and is refused has been revoked.
  if (isLive && session.state === 'in' && ['unauthorized', 'invalid_token'].includes(answer.error)) end('elsewhere')
  return answer
}

// Returns whether the page still has a token whose session has ended.
export function isRevokedTokenHeld() {
  return session.state === 'over' && isBearer()
}

// Whether a request is under way that ends this session.
let isLeaving = false

// Ends this session by a request, and returns the answer.
export async function leave(method, path) {
  isLeaving = true
  const answer = await call(method, path)
  isLeaving = false
  if (answer.ok) end('signed out')
  else if (answer.status === 401) end('elsewhere')
  return answer
}

// The session has ended. Its access token stays, to show that it is refused.
export function end(reason) {
  // A stream may tell of the end before the answer does.
  if (session.state !== 'in' || isLeaving) return
  Object.assign(session, { state: 'over', reason, refresh: undefined, csrf: undefined })
  sessionStorage.removeItem(CSRF)
  tell('change')
}

// When the next automatic exchange may be tried, after one that failed.
let nextTry = 0

// Passes a second. Near the end of the token's life, exchanges it.
export async function tick() {
  tell('tick')
  const isDue = timeLeft() < Math.min(60_000, session.lifetime / 5) && Date.now() >= nextTry
  if (session.state !== 'in' || !session.automatic || !isDue) return
  const { ok, retryAfter = 10 } = await refresh(true)
  nextTry = ok ? 0 : Date.now() + retryAfter * 1000
}
