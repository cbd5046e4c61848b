// Small helpers for the document. Text goes in as text nodes, never as HTML.

export const byId = id => document.getElementById(id)

// Creates an element with these properties and children.
export function element(tag, properties = {}, ...children) {
  const { data, ...rest } = properties
  const made = Object.assign(document.createElement(tag), rest)
  Object.assign(made.dataset, data)
  made.append(...children)
  return made
}

// Shows a text at this element, or hides the element if there is none.
export function show(id, text) {
  const place = byId(id)
  place.textContent = text ?? ''
  place.hidden = !text
}

// Shows what is wrong with a field beside it, or that nothing is.
export function showFieldProblem(id, text) {
  show(`${id}-problem`, text)
  if (text) byId(id).setAttribute('aria-invalid', 'true')
  else byId(id).removeAttribute('aria-invalid')
}

// Runs `action` when the button is pressed. Until it has ended, the button does nothing more.
export function onPress(button, action) {
  button.addEventListener('click', () => busy(button, action))
}

// The same for a form: the button that submits it is the busy one.
export function onSubmit(form, action) {
  form.addEventListener('submit', event => {
    event.preventDefault()
    busy(form.querySelector('[type=submit]'), action)
  })
}

// The button stays focusable, so that the keyboard does not lose its place.
async function busy(button, action) {
  if (button.getAttribute('aria-disabled')) return
  button.setAttribute('aria-disabled', 'true')
  try {
    await action()
  } finally {
    button.removeAttribute('aria-disabled')
  }
}
