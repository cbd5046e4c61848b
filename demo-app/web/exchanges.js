// The panel of requests and responses.

import { byId, element } from './dom.js'
import { meaning, shorten } from './words.js'

const TOKENS = new Set(['access_token', 'refresh_token', 'csrf_token'])
const PASSWORDS = new Set(['password', 'current_password', 'new_password'])

// More are dropped, the oldest first.
const MAX_SHOWN = 50

// Writes a body. Of a token the ends are shown.
function bodyText(body) {
  return JSON.stringify(body, (name, value) => TOKENS.has(name) ? shorten(value) : value, 2)
}

// Leaves the passwords out of the body of a request. In an answer, a field's name has its problem.
function withoutPasswords(body) {
  return body && Object.fromEntries(Object.entries(body).map(([name, value]) =>
    [name, PASSWORDS.has(name) ? '••••••••' : value]))
}

function lines(first, headers, body) {
  const list = headers.map(([name, value, isHidden]) =>
    element('span', { className: isHidden ? 'header hidden-value' : 'header' }, element('b', {}, name), `: ${value}`))
  const text = body === undefined ? [] : [element('span', { className: 'body' }, bodyText(body))]
  return element('pre', {}, element('span', { className: 'first' }, first), ...list, ...text)
}

// Adds a request to the panel and returns its exchange, which gets the answer.
//
// A request that the page sends by itself is `isBackground`, and stays folded.
export function addExchange({ method, path, headers, body, isBackground }) {
  const status = element('span', { className: 'status' }, '…')
  const note = element('span', { className: 'note' })
  const summary = element('summary', {}, element('span', { className: 'method' }, method),
    element('span', { className: 'path' }, `/${path}`), status, note)
  const details = element('details', {}, summary, lines(`${method} /${path}`, headers, withoutPasswords(body)))
  const item = element('li', {}, details)
  const list = byId('exchanges')
  if (!isBackground) {
    for (const open of list.querySelectorAll('details[open]')) open.open = false
    details.open = true
  }
  list.prepend(item)
  while (list.childElementCount > MAX_SHOWN) list.lastElementChild.remove()
  byId('no-requests').hidden = true
  byId('clear').hidden = false
  const begun = performance.now()
  return {
    answer({ status: code, statusText, headers: answered, body: answerBody, error, fields }) {
      status.textContent = code || 'no answer'
      status.dataset.kind = code >= 200 && code < 300 ? 'good' : 'bad'
      const took = `${Math.round(performance.now() - begun)} ms`
      if (code) details.append(lines(`${code} ${statusText}, after ${took}`, answered, answerBody))
      note.textContent = meaning({ method, path, status: code, error, fields })
      if (!isBackground) showLatest(`${method} /${path}: ${code || 'no answer'}`)
    },
    // Says what came of it later.
    add(sentence) {
      note.textContent = sentence
    },
  }
}

// On a phone the panel is below everything, so a line at the lower edge leads to it.
function showLatest(text) {
  const latest = byId('latest')
  latest.textContent = text
  latest.hidden = false
}

byId('clear').addEventListener('click', () => {
  byId('exchanges').replaceChildren()
  byId('no-requests').hidden = false
  byId('clear').hidden = true
  byId('latest').hidden = true
  byId('requests').focus()
})
