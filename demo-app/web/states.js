// Shows what belongs to the state of the session. It comes before the cards' own listeners.

import { byId } from './dom.js'
import { news, session } from './session.js'

// `data-when` lists the states in which an element is shown.
news.addEventListener('change', () => {
  const focused = document.activeElement
  for (const place of document.querySelectorAll('[data-when]')) {
    place.hidden = !place.dataset.when.split(' ').includes(session.state)
  }
  // What had the focus may be gone: then the keyboard goes on at the first card.
  if (focused?.closest('[hidden], #password-place')) byId(session.state === 'in' ? 'you-title' : 'sign-in-title').focus()
})
