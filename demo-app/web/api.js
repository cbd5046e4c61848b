// Sends requests, and shows each in the panel.

import { addExchange } from './exchanges.js'
import { shorten } from './words.js'

// Headers of an answer that are worth showing. `Set-Cookie` is hidden from scripts.
const SHOWN = ['content-type', 'cache-control', 'retry-after', 'www-authenticate', 'x-request-id']
const HIDDEN = '(hidden from scripts)'

// How far the server's clock is ahead of ours, in milliseconds.
let ahead = 0

// Returns the server's time, as far as it is known.
export function serverNow() {
  return Date.now() + ahead
}

// Sends a request, and returns the answer: `status`, `ok`, `body`, `error`, `description`, `fields`,
// `retryAfter`. Status 0 is no answer.
//
// `token` goes into `Authorization`. With `cookies`, the browser adds its cookies, and keeps those of
// the answer; without, it does neither. A `stream` is not read: the answer then has its `stream`.
export async function send(method, path, options = {}) {
  const { body, token, cookies = false, csrf, stream = false, signal, isBackground = false } = options
  const headers = new Headers()
  const shown = []
  const header = (name, value, shownValue = value) => {
    headers.set(name, value)
    shown.push([name, shownValue])
  }
  if (token) header('Authorization', `Bearer ${token}`, `Bearer ${shorten(token)}`)
  if (cookies && !path.startsWith('auth/login')) shown.push(['Cookie', HIDDEN, true])
  if (csrf) header('X-CSRF-Token', csrf, shorten(csrf))
  if (body) header('Content-Type', 'application/json')
  const exchange = addExchange({ method, path, headers: shown, body, isBackground })
  const request = {
    method, headers, signal,
    body: body && JSON.stringify(body),
    credentials: cookies ? 'same-origin' : 'omit',
    cache: 'no-store',
    redirect: 'error',
  }
  let response
  let text
  try {
    response = await fetch(path, request)
    text = stream && response.ok ? '' : await response.text()
  } catch {
    const answer = { status: 0, ok: false, error: 'network' }
    exchange.answer(answer)
    return answer
  }
  ahead = Date.parse(response.headers.get('date')) - Date.now() || 0
  const answer = read(response, text)
  const answered = SHOWN.filter(name => response.headers.has(name)).map(name => [name, response.headers.get(name)])
  if (cookies && setsCookies(path, answer)) answered.push(['set-cookie', HIDDEN, true])
  exchange.answer({ ...answer, statusText: response.statusText, headers: answered })
  return { ...answer, exchange, stream: stream && response.ok ? response.body : undefined }
}

function read(response, text) {
  let body
  try {
    body = text ? JSON.parse(text) : undefined
  } catch {
    // A proxy in between may answer with a page of its own.
  }
  return {
    status: response.status,
    ok: response.ok,
    body,
    error: body?.error,
    description: body?.error_description,
    fields: body?.fields,
    retryAfter: Number(response.headers.get('retry-after')) || undefined,
  }
}

// Sign-in and refresh set our cookies; sign-out and a refused refresh remove them.
function setsCookies(path, { ok, error }) {
  return /^auth\/(login|refresh|logout)/.test(path) && (ok || error === 'invalid_grant')
}
