// A stream of events, which the service ends with the session.
//
// `EventSource` can send no `Authorization`, and connects again by itself. So the page reads the
// stream with `fetch`, in either mode.

import { byId, element, onPress, show } from './dom.js'
import { call, end, news, session } from './session.js'
import { count, problem } from './words.js'

const SHOWN = 5

const ENDS = {
  revoked: 'its session was revoked',
  expired: 'its session has expired',
  unavailable: 'the service could not learn the state of the session',
  stopping: 'the service stops',
}

const toggle = byId('stream-toggle')

// Ends the stream that is open.
let stopOpen

// Yields the events of a body: their name and their data.
async function* events(body) {
  let text = ''
  for await (const chunk of chunks(body.pipeThrough(new TextDecoderStream()))) {
    const parts = (text + chunk).split('\n\n')
    text = parts.pop()
    for (const part of parts) {
      const field = name => part.split('\n').find(line => line.startsWith(`${name}: `))?.slice(name.length + 2)
      if (field('data')) yield { name: field('event'), data: JSON.parse(field('data')) }
    }
  }
}

// Not every browser iterates over a stream.
async function* chunks(stream) {
  const reader = stream.getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    yield value
  }
}

onPress(toggle, async () => {
  if (stopOpen) return stopOpen()
  const aborter = new AbortController()
  const answer = await call('GET', 'demo/events', { stream: true, signal: aborter.signal })
  show('stream-problem', answer.ok ? undefined : problem(answer))
  if (answer.ok) follow(answer, () => aborter.abort())
})

async function follow({ stream, exchange }, abort) {
  const sessionId = session.claims.sid
  let [received, why] = [0, 'the connection broke']
  const list = byId('stream-events')
  stopOpen = () => {
    why = 'you closed it'
    abort()
  }
  list.replaceChildren()
  toggle.textContent = 'Close the stream'
  tell('open', 'The stream is open. The service sends an event each second.')
  try {
    for await (const { name, data } of events(stream)) {
      if (name === 'end') why = ENDS[data.reason]
      else list.append(element('li', { value: ++received }, new Date(data.time).toLocaleTimeString()))
      list.hidden = received === 0
      if (list.childElementCount > SHOWN) list.firstElementChild.remove()
    }
  } catch {
    // `why` says it.
  }
  stopOpen = undefined
  toggle.textContent = 'Open the stream'
  const sentence = `The stream ended after ${count(received, 'event')}: ${why}.`
  exchange.add(sentence)
  tell(why === ENDS.revoked ? 'bad' : '', sentence)
  if ([ENDS.revoked, ENDS.expired].includes(why) && session.claims.sid === sessionId) end('elsewhere')
}

function tell(kind, sentence) {
  byId('stream-state').dataset.kind = kind
  show('stream-state', sentence)
}

news.addEventListener('change', () => {
  if (session.state !== 'in') return
  stopOpen?.()
  byId('stream-events').hidden = true
  show('stream-state')
  show('stream-problem')
})
