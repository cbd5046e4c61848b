// A browser, and the windows of it.

import assert from 'node:assert/strict'
import { chromium } from 'playwright-core'

// Flags that stop the browser from calling home.
const QUIET = [
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
  '--disable-quic',
]

export const WIDE = { width: 1280, height: 880 }
export const PHONE = { width: 390, height: 844 }

// Starts Chromium. It ends with this process.
export function launch(executablePath) {
  return chromium.launch({
    executablePath,
    // Chromium's sandbox does not work as root.
    chromiumSandbox: process.getuid() !== 0,
    args: QUIET,
  })
}

// A window of the browser, and a user who knows labels and buttons alone.
export class Window {
  // What the console has said since the last look at it: errors, warnings and uncaught exceptions.
  problems = []

  static async open(browser, options = {}) {
    const window = new this()
    window.context = await browser.newContext({ viewport: WIDE, ...options })
    window.page = await window.context.newPage()
    window.page.setDefaultTimeout(15_000)
    window.page.on('pageerror', error => window.problems.push(`${error}`))
    window.page.on('console', message => {
      if (['error', 'warning'].includes(message.type())) window.problems.push(message.text())
    })
    return window
  }

  // Waits until the console has said so many things. Fails unless they are these and no others.
  async assertConsole(...expected) {
    while (this.problems.length < expected.length) await this.page.waitForEvent('console')
    const said = this.problems.splice(0)
    assert.equal(said.length, expected.length, said.join('\n'))
    expected.forEach((pattern, place) => assert.match(said[place], pattern))
  }

  field(label) {
    return this.page.getByLabel(label, { exact: true })
  }

  button(name) {
    return this.page.getByRole('button', { name, exact: true })
  }

  async fillIn({ username, password }) {
    await this.field('Username').fill(username)
    await this.field('Password').fill(password)
  }

  // Signs in on the page that is shown. Returns the URL at which the browser arrives.
  async signIn(user, { site }) {
    await this.fillIn(user)
    await this.button('Sign in').click()
    return this.arrival(site)
  }

  // Waits until the browser shows a page of this site, and returns its URL. A navigation that another
  // one replaces, as with a double click, is no failure; `waitForURL` would make it one.
  async arrival(site) {
    const main = this.page.mainFrame()
    const arrived = frame => frame === main && frame.url().startsWith(`${site.origin}/`)
    if (!arrived(main)) await this.page.waitForEvent('framenavigated', arrived)
    await this.page.waitForLoadState()
    return this.page.url()
  }
}
