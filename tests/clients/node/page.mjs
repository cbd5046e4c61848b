// A user goes through the page at `/` in Chromium: by bearer tokens, by cookies, by keyboard, on a phone.

import assert from 'node:assert/strict'
import path from 'node:path'
import axe from 'axe-core'
import { tell } from './story.mjs'
import { PHONE, Window, launch } from './window.mjs'

const IPHONE = 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 ' +
  '(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1'

// A person who looks at the page.
class Visitor extends Window {
  heading(name) {
    return this.page.getByRole('heading', { name, exact: true })
  }

  card(name) {
    return this.page.getByRole('region', { name, exact: true })
  }

  // Waits until this text is shown.
  async reads(text, place = this.page) {
    await place.getByText(text).first().waitFor()
  }

  async press(name) {
    await this.button(name).click()
  }

  // Opens the page at `/` and signs in.
  async enter(url, user, transport = 'Bearer') {
    await this.page.goto(url)
    await this.field(transport).check()
    await this.fillIn(user)
    await this.press('Sign in')
    await this.heading(`Signed in as ${user.username}`).waitFor()
  }

  // Calls `/me`, and waits for the sentence about the answer.
  async callMe(sentence) {
    await this.press('Call /me')
    await this.reads(sentence, this.page.locator('#me-answer'))
  }

  async claim(name) {
    const row = this.page.locator('#claims > div', { has: this.page.locator(`dt code:text-is("${name}")`) })
    return row.locator('.value code').innerText()
  }
}

// Signs in without a browser, and opens so many streams. The service ends them with the session.
async function openStreams(url, user, number) {
  const login = await fetch(new URL('/auth/login', url), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(user),
  })
  const headers = { authorization: `Bearer ${(await login.json()).access_token}` }
  const open = () => fetch(new URL('/demo/events', url), { headers })
  const streams = await Promise.all(Array.from({ length: number }, open))
  streams.forEach(stream => assert.equal(stream.status, 200))
}

await tell(async input => {
  const { chromium, issuer, screenshots } = input
  const taken = input.username
  const [username, password] = ['ada', 'correct horse battery']
  const user = { username, password }
  const browser = await launch(chromium)
  const steps = []
  const step = async (name, story) => {
    await story()
    steps.push(name)
  }
  const picture = async (window, name) => {
    await window.page.evaluate(() => scrollTo(0, 0))
    await window.page.screenshot({ path: path.join(screenshots, `${name}.png`) })
  }

  // What axe has looked at. A violation fails the test.
  const looked = { pages: 0, passes: 0, incomplete: new Set() }
  const assertAccessible = async window => {
    await window.page.evaluate(axe.source)
    const { violations, passes, incomplete } = await window.page.evaluate(() => globalThis.axe.run(document))
    const said = violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => [id, html, failureSummary]))
    assert.deepEqual(said, [])
    looked.pages += 1
    looked.passes += passes.length
    for (const { id } of incomplete) looked.incomplete.add(id)
  }

  try {
    await step('first look', async () => {
      const window = await Visitor.open(browser)
      await window.page.goto(issuer)
      assert.equal(await window.heading('Sign in').count(), 1)
      await assertAccessible(window)
      await window.callMe('401: refused. The request had no token.')
      await window.assertConsole(/status of 401/)
      // The panel has the request and the answer.
      await window.reads('GET /me', window.page.locator('aside pre'))
      await window.reads(/Bearer realm="demo-app"/, window.page.locator('aside pre'))
      await window.context.close()
    })

    await step('mistakes', async () => {
      const window = await Visitor.open(browser)
      const { page } = window
      const problemOf = async label => {
        const ids = (await window.field(label).getAttribute('aria-describedby')).split(' ')
        const texts = await Promise.all(ids.map(id => page.locator(`#${id}:visible`).allInnerTexts()))
        return texts.flat().join(' ')
      }
      await page.goto(issuer)
      await window.press('Sign in')
      assert.match(await problemOf('Username'), /Type a username\./)
      assert.match(await problemOf('Password'), /Type a password\./)
      assert.equal(await page.evaluate(() => document.activeElement.id), 'username')
      await window.fillIn({ username: 'a b', password: 'short' })
      await window.press('Register')
      await window.reads(/^The username must/)
      assert.match(await problemOf('Password'), /The password must be 8 to 256 characters\./)
      assert.equal(await window.field('Username').getAttribute('aria-invalid'), 'true')
      await window.assertConsole(/status of 422/)
      await assertAccessible(window)
      await picture(window, 'page-error')
      await window.fillIn({ username: taken.toUpperCase(), password })
      await window.press('Register')
      await window.reads('This username is taken. Choose another, or sign in.')
      await window.assertConsole(/status of 409/)
      await window.fillIn({ username: taken, password: 'not the password' })
      await window.press('Sign in')
      await window.reads('The username or the password is wrong.', page.getByRole('alert'))
      assert.equal(await page.evaluate(() => document.activeElement.id), 'password')
      await window.assertConsole(/status of 401/)
      await window.context.setOffline(true)
      await window.press('Sign in')
      await window.reads('The service did not answer. Check that it runs, then try again.', page.getByRole('alert'))
      await window.assertConsole(/ERR_INTERNET_DISCONNECTED/)
      await window.context.close()
    })

    await step('bearer', async () => {
      const window = await Visitor.open(browser)
      const { page } = window
      await page.goto(issuer)
      await window.fillIn(user)
      await window.press('Register')
      await window.reads('ada is registered. Now sign in.')
      const [signedIn] = await Promise.all([
        page.waitForResponse(response => response.url().endsWith('/auth/login')),
        window.press('Sign in'),
      ])
      const { access_token, refresh_token } = await signedIn.json()
      await window.heading('Signed in as ada').waitFor()
      assert.match(await page.getByRole('timer').innerText(), /^1[45]:\d\d$/)
      await window.callMe('200: let in. The service knows you as ada.')
      await assertAccessible(window)
      await picture(window, 'page-wide')
      const [token, session] = [await window.claim('jti'), await window.claim('sid')]
      await window.press('Try without a token')
      await window.reads('401: refused. The request had no token.')
      await window.assertConsole(/status of 401/)
      await window.press('Refresh')
      await window.reads('A new pair of tokens. The old refresh token is used up.')
      assert.notEqual(await window.claim('jti'), token)
      assert.equal(await window.claim('sid'), session)
      // Nothing keeps the tokens but the script, and the page shows them shortened.
      assert.deepEqual(await window.context.cookies(), [])
      assert.equal(await page.evaluate(() => localStorage.length + sessionStorage.length), 0)
      const shown = await page.content()
      for (const secret of [access_token, refresh_token, password]) assert.ok(!shown.includes(secret))
      await window.press('Sign out')
      await window.reads('You are signed out. The session is revoked, with all its tokens.')
      await window.callMe("401: refused. The signature is still right, but the token's record is revoked.")
      await window.assertConsole(/status of 401/)
      await assertAccessible(window)
      await page.reload()
      await window.callMe('401: refused. The request had no token.')
      await window.assertConsole(/status of 401/)
      await window.context.close()
    })

    await step('automatic refresh', async () => {
      const window = await Visitor.open(browser)
      await window.page.clock.install()
      await window.enter(issuer, user)
      const token = await window.claim('jti')
      await window.page.clock.fastForward('13:00')
      assert.match(await window.page.getByRole('timer').innerText(), /^[12]:\d\d$/)
      assert.equal(await window.claim('jti'), token)
      await window.page.clock.fastForward('01:10')
      await window.reads(/^14:[45]\d$|^15:00$/, window.page.getByRole('timer'))
      assert.notEqual(await window.claim('jti'), token)
      await window.field('Get new tokens before this one expires').uncheck()
      await window.page.clock.fastForward('15:10')
      await window.reads('0:00: it has expired')
      await window.press('Refresh')
      await window.reads('A new pair of tokens. The old refresh token is used up.')
      await window.assertConsole()
      await window.context.close()
    })

    await step('sessions and a stream', async () => {
      const [desk, phone] = [await Visitor.open(browser), await Visitor.open(browser, { viewport: PHONE, userAgent: IPHONE })]
      await phone.enter(issuer, user)
      await phone.press('Open the stream')
      await phone.reads('The stream is open. The service sends an event each second.')
      await phone.page.locator('#stream-events li').nth(1).waitFor()
      await desk.enter(issuer, user)
      const sessions = desk.card('Your sessions').getByRole('listitem')
      const current = sessions.filter({ hasText: 'this session' })
      assert.match(await current.innerText(), /Chrome on Linux/)
      assert.match(await current.innerText(), /signed in just now\s+last used just now\s+ends in \d+ days/)
      const before = await sessions.count()
      await desk.card('Your sessions').screenshot({ path: path.join(screenshots, 'page-sessions.png') })
      await sessions.getByRole('button', { name: 'End Safari on iOS' }).click()
      await desk.reads(/^The session is ended\./)
      assert.equal(await sessions.count(), before - 1)
      await phone.reads(/^The stream ended after \d+ events: its session was revoked\.$/)
      await phone.reads('Your session has ended. It was revoked, or it has expired.')
      // The keyboard goes on where something is.
      assert.equal(await phone.page.evaluate(() => document.activeElement.closest('[hidden]')), null)
      await phone.callMe("401: refused. The signature is still right, but the token's record is revoked.")
      await phone.assertConsole(/status of 401/)
      await phone.context.close()

      await desk.press('Open the stream')
      await desk.page.locator('#stream-events li').first().waitFor()
      await desk.press('Close the stream')
      await desk.reads(/^The stream ended after \d+ events?: you closed it\.$/)
      await desk.press('Open the stream')
      await desk.page.locator('#stream-events li').first().waitFor()
      await desk.press('Sign out everywhere')
      await desk.reads(/^The stream ended after \d+ events?: its session was revoked\.$/)
      await desk.reads('You are signed out. The session is revoked, with all its tokens.')
      await desk.assertConsole()

      await desk.enter(issuer, user)
      await openStreams(issuer, user, 100)
      await desk.press('Open the stream')
      await desk.reads('Too many streams are open. Try again in 2 seconds.')
      await desk.press('Sign out everywhere')
      await desk.reads('You are signed out. The session is revoked, with all its tokens.')
      await desk.assertConsole(/status of 429/)
      await desk.context.close()
    })

    await step('single use', async () => {
      const window = await Visitor.open(browser)
      await window.enter(issuer, user)
      await window.press('Get a token')
      await window.reads(/good for (1:00|0:5\d)$/)
      await window.press('Spend it')
      await window.reads('200: accepted. The token is used up.')
      await window.press('Spend it')
      await window.reads('401: refused. The token is used up or has expired.')
      await window.assertConsole(/status of 401/)
      await window.context.close()
    })

    await step('password', async () => {
      const [window, other] = [await Visitor.open(browser), await Visitor.open(browser)]
      await other.enter(issuer, user)
      await window.enter(issuer, user)
      const change = async (current, next) => {
        await window.field('Current password').fill(current)
        await window.field('New password').fill(next)
        await window.press('Change the password')
      }
      await change('not the password', 'another pass phrase')
      await window.reads('This is not your current password.')
      await window.assertConsole(/status of 401/)
      await change(password, 'password1')
      await window.reads('The new password is too common; choose another.')
      await window.assertConsole(/status of 422/)
      await assertAccessible(window)
      await change(password, 'another pass phrase')
      await window.reads('The password is changed. All other sessions have ended.')
      await window.callMe(/^200: let in\./)
      await other.press('Reload the list')
      await other.reads('Your session has ended. It was revoked, or it has expired.')
      await other.assertConsole(/status of 401/)
      await change('another pass phrase', password)
      await window.page.waitForFunction(() => document.getElementById('current').value === '')
      await window.assertConsole()
      for (const { context } of [window, other]) await context.close()
    })

    await step('cookies', async () => {
      const window = await Visitor.open(browser)
      const { page } = window
      await window.enter(issuer, user, 'Cookies')
      const cookies = await window.context.cookies()
      assert.deepEqual(cookies.map(({ name }) => name).sort(), ['__Host-access', '__Host-refresh'])
      for (const { httpOnly, secure, sameSite } of cookies) {
        assert.deepEqual([httpOnly, secure, sameSite], [true, true, 'Lax'])
      }
      assert.equal(await page.evaluate(() => document.cookie), '')
      const shown = await page.content()
      for (const { value } of cookies) assert.ok(!shown.includes(value))
      await assertAccessible(window)
      await picture(window, 'page-cookies')
      const token = await window.claim('jti')
      await window.press('Refresh')
      await window.reads('A new pair of tokens. The old refresh token is used up.')
      assert.notEqual(await window.claim('jti'), token)
      await page.reload()
      await window.heading('Signed in as ada').waitFor()
      await window.callMe(/^200: let in\./)
      await window.assertConsole()
      await window.press('Try without a token')
      await window.reads('401: refused. The request had no token.')
      // Cookies alone change nothing.
      const forged = await page.evaluate(async () => (await fetch('auth/logout', { method: 'POST' })).status)
      assert.equal(forged, 403)
      await window.assertConsole(/status of 401/, /status of 403/)
      await window.press('Get a token')
      await window.press('Spend it')
      await window.reads('200: accepted. The token is used up.')
      await window.press('Open the stream')
      await page.locator('#stream-events li').first().waitFor()
      await window.press('Sign out')
      await window.reads(/^The stream ended after \d+ events?: its session was revoked\.$/)
      assert.deepEqual(await window.context.cookies(), [])
      await window.callMe('401: refused. The request had no token.')
      await window.assertConsole(/status of 401/)
      await window.context.close()
    })

    await step('keyboard alone', async () => {
      const window = await Visitor.open(browser)
      const { page } = window
      const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent.trim())
      const tabTo = async target => {
        for (let presses = 0; presses < 60; presses += 1) {
          await page.keyboard.press('Tab')
          if (await focused() === target) return
        }
        assert.fail(`no Tab leads to ${target}`)
      }
      await page.goto(issuer)
      await page.keyboard.press('Tab')
      assert.equal(await focused(), 'Skip to the page')
      await page.keyboard.press('Enter')
      await tabTo('bearer')
      await page.keyboard.press('ArrowDown')
      assert.equal(await focused(), 'cookie')
      await page.keyboard.press('ArrowUp')
      await tabTo('username')
      await page.keyboard.type(username)
      await tabTo('password')
      await page.keyboard.type(password)
      await page.keyboard.press('Enter')
      await window.heading('Signed in as ada').waitFor()
      await page.waitForFunction(() => document.activeElement.id === 'you-title')
      await tabTo('call-me')
      await page.keyboard.press('Enter')
      await window.reads(/^200: let in\./)
      await page.keyboard.press('Shift+Tab')
      assert.equal(await focused(), 'sign-out-everywhere')
      await page.keyboard.press('Space')
      await page.waitForFunction(() => document.activeElement.id === 'sign-in-title')
      await window.assertConsole()
      await window.context.close()
    })

    await step('phone, dark, reduced motion', async () => {
      for (const [name, options] of [
        ['page-phone', { viewport: PHONE, isMobile: true, hasTouch: true, deviceScaleFactor: 1.5 }],
        ['page-dark', { colorScheme: 'dark' }],
        ['page-phone-dark', { viewport: { width: 320, height: 640 }, isMobile: true, colorScheme: 'dark', reducedMotion: 'reduce' }],
      ]) {
        const window = await Visitor.open(browser, options)
        await window.page.goto(issuer)
        await assertAccessible(window)
        await window.enter(issuer, user)
        await window.callMe(/^200: let in\./)
        await window.press('Open the stream')
        await window.page.locator('#stream-events li').first().waitFor()
        await window.press('Get a token')
        await window.press('Spend it')
        await window.reads('200: accepted. The token is used up.')
        await assertAccessible(window)
        await picture(window, name)
        const overflow = await window.page.evaluate(
          () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
        )
        assert.equal(overflow, 0)
        if (options.reducedMotion) {
          const moving = await window.page.evaluate(() => document.getAnimations().length)
          assert.equal(moving, 0)
        }
        await window.press('Sign out')
        await window.reads('You are signed out. The session is revoked, with all its tokens.')
        await assertAccessible(window)
        await window.assertConsole()
        await window.context.close()
      }
    })

    await step('no script', async () => {
      const window = await Visitor.open(browser, { javaScriptEnabled: false })
      await window.page.goto(issuer)
      await window.reads(/^This page needs JavaScript/)
      await window.fillIn(user)
      const sent = []
      window.page.on('request', request => sent.push(request.url()))
      await window.button('Sign in').click({ noWaitAfter: true })
      // The browser must not send the form by itself: the password could come into a URL or a log.
      await window.assertConsole(/form-action 'none'/)
      assert.deepEqual([sent, window.page.url()], [[], `${issuer}/`])
      await window.context.close()
    })

    await step('sign-in page', async () => {
      const window = await Visitor.open(browser)
      const query = new URLSearchParams({
        response_type: 'code',
        client_id: input.public.client_id,
        redirect_uri: input.redirect_uri,
        code_challenge: 'A'.repeat(43),
        code_challenge_method: 'S256',
      })
      await window.page.goto(`${issuer}/oauth/authorize?${query}`)
      await assertAccessible(window)
      await window.fillIn({ username, password: 'not the password' })
      await window.press('Sign in')
      await window.reads('The username or the password is wrong.', window.page.getByRole('alert'))
      await assertAccessible(window)
      await picture(window, 'sign-in')
      await window.page.goto(`${issuer}/oauth/authorize?client_id=nobody`)
      await assertAccessible(window)
      await window.assertConsole(/status of 401/, /status of 400/)
      await window.context.close()
    })

    return { steps, axe: { version: axe.version, ...looked, incomplete: [...looked.incomplete] } }
  } finally {
    await browser.close()
  }
})
