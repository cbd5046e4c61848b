// What the scripts share: input and output, and a user who signs in on the page.

import assert from 'node:assert/strict'
import { text } from 'node:stream/consumers'

// Runs a script's story with the JSON object from standard input, and prints what it returns.
// A failure ends the process with the error on standard error.
export async function tell(story) {
  const input = JSON.parse(await text(process.stdin))
  console.log(JSON.stringify(await story(input)))
}

// Sends the user to the sign-in page and fills in its form. Returns the URL of the redirect, which
// is not followed.
export async function signIn(authorizationUrl, { username, password }) {
  const shown = await fetch(authorizationUrl, { redirect: 'manual' })
  const page = await shown.text()
  assert.equal(shown.status, 200, page)
  const [cookie] = shown.headers.get('set-cookie').split(';')
  const [, csrf_token] = page.match(/name="csrf_token" value="([^"]+)"/)
  const sent = await fetch(authorizationUrl, {
    method: 'POST',
    redirect: 'manual',
    headers: { cookie },
    body: new URLSearchParams({ csrf_token, username, password }),
  })
  assert.equal(sent.status, 303, await sent.text())
  return new URL(sent.headers.get('location'))
}

// Fails unless `call` is rejected. Returns the error.
export async function rejection(call) {
  const error = await call.then(
    value => assert.fail(`it was accepted: ${JSON.stringify(value)}`),
    error => error,
  )
  if (error instanceof assert.AssertionError) throw error
  return error
}
