// A user goes through the code flow in Chromium, and an attacker interferes.
//
// The client's pages are at 127.0.0.1, as the service is. The attacker's are at localhost, which is
// another site to a browser.

import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import path from 'node:path'
import { rejection, tell } from './story.mjs'
import { PHONE, Window, launch } from './window.mjs'
import * as oauth from 'oauth4webapi'

const HTTP = { [oauth.allowInsecureRequests]: true }

// A web server that notes the requests it gets. `pages` has HTML by path.
class Site {
  requests = []
  pages = {}

  static async open(host) {
    const site = new Site()
    const server = createServer((request, response) => {
      const url = new URL(request.url, site.origin)
      // Chromium asks for it by itself.
      if (url.pathname !== '/favicon.ico') site.requests.push(url)
      response.setHeader('content-type', 'text/html; charset=utf-8')
      response.end(`<!doctype html><link rel="icon" href="data:,">${site.pages[url.pathname] ?? ''}`)
    })
    await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
    site.origin = `http://${host}:${server.address().port}`
    site.close = () => {
      server.close()
      server.closeAllConnections()
    }
    return site
  }
}

// The client: it sends the user to the service, and exchanges what comes back.
class RelyingParty {
  constructor(site, client_id) {
    this.site = site
    this.client = { client_id }
    this.redirect_uri = `${site.origin}/callback`
    site.pages['/callback'] = '<title>Shop</title><h1>Welcome back</h1>'
  }

  // Begins a flow at this server, and returns what the client must remember of it.
  async begin(server, changes = {}) {
    const verifier = oauth.generateRandomCodeVerifier()
    const state = oauth.generateRandomState()
    const url = new URL(server.authorization_endpoint)
    url.search = new URLSearchParams({
      response_type: 'code',
      client_id: this.client.client_id,
      redirect_uri: this.redirect_uri,
      scope: 'profile',
      state,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      ...changes,
    })
    return { server, url: url.href, state, verifier }
  }

  // Checks the authorization response as a client must.
  read({ server, state }, callback) {
    return oauth.validateAuthResponse(server, this.client, new URL(callback), state)
  }

  async exchange({ server, verifier }, response) {
    const answer = await oauth.authorizationCodeGrantRequest(
      server, this.client, oauth.None(), response, this.redirect_uri, verifier, HTTP,
    )
    return oauth.processAuthorizationCodeResponse(server, this.client, answer)
  }

  async refresh({ server }, token) {
    const answer = await oauth.refreshTokenGrantRequest(server, this.client, oauth.None(), token, HTTP)
    return oauth.processRefreshTokenResponse(server, this.client, answer)
  }
}

async function discover(issuer) {
  const url = new URL(issuer)
  const response = await oauth.discoveryRequest(url, { algorithm: 'oauth2', ...HTTP })
  return oauth.processDiscoveryResponse(url, response)
}

async function assertRefused(call, code) {
  const error = await rejection(call)
  assert.ok(error instanceof oauth.ResponseBodyError, error)
  assert.deepEqual([error.status, error.error], [400, code])
}

// Returns the status of `/me` with this token.
async function me({ server }, token) {
  const headers = { authorization: `Bearer ${token}` }
  return (await fetch(new URL('/me', server.issuer), { headers })).status
}

// Writes a URL for an attribute of HTML.
function attribute(url) {
  return url.replaceAll('&', '&amp;')
}

await tell(async input => {
  const { chromium: executablePath, issuer, other_issuer, screenshots, username, password } = input
  const user = { username, password }
  const { client_id } = input.public
  const [server, otherServer] = [await discover(issuer), await discover(other_issuer)]
  const client = await Site.open('127.0.0.1')
  const attacker = await Site.open('localhost')
  const party = new RelyingParty(client, client_id)
  const browser = await launch(executablePath)
  const steps = []
  const step = async (name, story) => {
    await story()
    steps.push(name)
  }

  try {
    const window = await Window.open(browser)
    const { page } = window
    const picture = name => page.screenshot({ path: path.join(screenshots, `${name}.png`), fullPage: true })
    const isSignInPage = async () => {
      assert.equal(new URL(page.url()).origin, issuer)
      await window.field('Password').waitFor()
    }

    let used
    await step('wrong password, then the right one', async () => {
      const flow = await party.begin(server)
      client.pages['/'] = `<a href="${attribute(flow.url)}">Sign in</a>`
      await page.goto(client.origin)
      await page.getByRole('link', { name: 'Sign in' }).click()
      assert.equal(await page.title(), 'Sign in')
      assert.equal(await page.getByRole('heading').innerText(), `Sign in to continue to ${client_id}`)
      await picture('sign-in')
      await window.fillIn({ ...user, password: 'not the password' })
      await window.button('Sign in').click()
      const problem = page.getByRole('alert')
      await problem.waitFor()
      await isSignInPage()
      await picture('wrong-password')
      assert.deepEqual(
        [await window.field('Username').inputValue(), await window.field('Password').inputValue()],
        [user.username, ''],
      )
      await window.assertConsole(/status of 401/)
      // A keyboard is enough.
      await window.field('Password').fill(user.password)
      await window.field('Password').press('Enter')
      const callback = await window.arrival(client)
      const response = party.read(flow, callback)
      assert.equal(response.get('iss'), issuer)
      const tokens = await party.exchange(flow, response)
      assert.equal(await me(flow, tokens.access_token), 200)
      const [cookie, ...others] = await window.context.cookies(flow.url)
      assert.deepEqual(others, [])
      assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.path], [true, 'Lax', '/oauth/authorize'])
      used = { flow, response, tokens }
      await window.assertConsole()
    })

    await step('replayed code', async () => {
      const { flow, response, tokens } = used
      await assertRefused(party.exchange(flow, response), 'invalid_grant')
      assert.equal(await me(flow, tokens.access_token), 401)
      await assertRefused(party.refresh(flow, tokens.refresh_token), 'invalid_grant')
    })

    await step('wrong redirect URI', async () => {
      for (const redirect_uri of [`${attacker.origin}/callback`, `${client.origin}/other`]) {
        const flow = await party.begin(server, { redirect_uri })
        const answer = await page.goto(flow.url)
        assert.equal(answer.status(), 400)
        assert.equal(page.url(), flow.url)
        assert.equal(await page.getByRole('heading').innerText(), 'This request cannot be granted')
        assert.equal(await page.locator('a, form, meta[http-equiv], script').count(), 0)
        assert.ok(!(await page.content()).includes(new URL(redirect_uri).host))
        await window.assertConsole(/status of 400/)
      }
      await picture('wrong-redirect-uri')
      assert.deepEqual(attacker.requests, [])
    })

    await step('stolen code', async () => {
      const flow = await party.begin(server)
      await page.goto(flow.url)
      const response = party.read(flow, await window.signIn(user, party))
      const stolen = new URLSearchParams({
        grant_type: 'authorization_code',
        client_id,
        code: response.get('code'),
        redirect_uri: party.redirect_uri,
      })
      const without = await fetch(server.token_endpoint, { method: 'POST', body: stolen })
      assert.deepEqual([without.status, (await without.json()).error], [400, 'invalid_request'])
      const guess = { ...flow, verifier: oauth.generateRandomCodeVerifier() }
      await assertRefused(party.exchange(guess, response), 'invalid_grant')
      // Wrong hands have neither used the code up nor revoked anything.
      const tokens = await party.exchange(flow, response)
      assert.equal(await me(flow, tokens.access_token), 200)
      await window.assertConsole()
    })

    await step('mixed-up issuer', async () => {
      // The client believes that the other server has sent the response.
      const flow = await party.begin(otherServer)
      const honest = new URL(flow.url)
      await page.goto(`${server.authorization_endpoint}${honest.search}`)
      const callback = await window.signIn(user, party)
      assert.equal(new URL(callback).searchParams.get('iss'), issuer)
      assert.notEqual(issuer, other_issuer)
      assert.throws(() => party.read(flow, callback), /"iss"/)
      // A client that does not look gives a code away, which is useless there.
      const response = party.read({ ...flow, server }, callback)
      await assertRefused(party.exchange(flow, response), 'invalid_grant')
      const tokens = await party.exchange({ ...flow, server }, response)
      assert.equal(await me({ server }, tokens.access_token), 200)
      await window.assertConsole()
    })

    await step('framed page', async () => {
      const flow = await party.begin(server)
      attacker.pages['/frame'] = `<iframe src="${attribute(flow.url)}"></iframe>`
      const [blocked] = await Promise.all([
        page.waitForEvent('requestfailed'),
        page.goto(`${attacker.origin}/frame`),
      ])
      assert.deepEqual([blocked.url(), blocked.failure().errorText], [flow.url, 'net::ERR_BLOCKED_BY_RESPONSE'])
      const [, frame] = page.frames()
      assert.deepEqual(
        await frame.evaluate(() => [location.href, document.forms.length]),
        ['chrome-error://chromewebdata/', 0],
      )
      await window.assertConsole(/frame-ancestors|X-Frame-Options/)
    })

    await step('form of another site', async () => {
      const flow = await party.begin(server)
      // The cookie of the page exists, and the attacker knows the user's name and password.
      await page.goto(flow.url)
      const [cookie] = await window.context.cookies(flow.url)
      const before = client.requests.length
      const fields = { ...user, csrf_token: 'A'.repeat(43) }
      const inputs = Object.entries(fields).map(([name, value]) => `<input name="${name}" value="${value}">`)
      const form = [`<form method="post" action="${attribute(flow.url)}">`, ...inputs, '<button>Win</button></form>']
      for (const site of [attacker, client]) {
        site.pages['/form'] = form.join('')
        await page.goto(`${site.origin}/form`)
        const [answer] = await Promise.all([
          page.waitForResponse(response => response.request().method() === 'POST'),
          window.button('Win').click(),
        ])
        const sent = (await answer.request().allHeaders()).cookie
        // All ports of 127.0.0.1 are one site.
        assert.equal(sent, site === attacker ? undefined : `authorize=${cookie.value}`)
        assert.equal(answer.status(), 403)
        await page.getByRole('heading', { name: 'This form is not ours' }).waitFor()
        await window.assertConsole(/status of 403/)
      }
      await picture('foreign-form')
      assert.deepEqual(client.requests.slice(before).map(url => url.pathname), ['/form'])
    })

    await step('back button', async () => {
      const flow = await party.begin(server)
      await page.goto(flow.url)
      const first = party.read(flow, await window.signIn(user, party))
      await page.goBack()
      await isSignInPage()
      assert.equal(await window.field('Password').inputValue(), '')
      const second = party.read(flow, await window.signIn(user, party))
      assert.notEqual(first.get('code'), second.get('code'))
      // Either code is good, and each once.
      for (const response of [second, first]) {
        const tokens = await party.exchange(flow, response)
        assert.equal(await me(flow, tokens.access_token), 200)
      }
      await window.assertConsole()
    })

    await step('double click', async () => {
      const flow = await party.begin(server)
      await page.goto(flow.url)
      await window.fillIn(user)
      await window.button('Sign in').dblclick()
      const response = party.read(flow, await window.arrival(client))
      const tokens = await party.exchange(flow, response)
      assert.equal(await me(flow, tokens.access_token), 200)
      await window.assertConsole()
    })

    await step('cancel', async () => {
      const flow = await party.begin(server)
      await page.goto(flow.url)
      await window.button('Cancel').click()
      const callback = await window.arrival(client)
      assert.throws(() => party.read(flow, callback), { error: 'access_denied' })
      const { searchParams } = new URL(callback)
      assert.deepEqual(
        ['state', 'iss', 'code'].map(name => searchParams.get(name)),
        [flow.state, issuer, null],
      )
      await window.assertConsole()
    })

    await step('small and dark', async () => {
      const flow = await party.begin(server)
      for (const [name, options] of [
        ['phone', { viewport: PHONE, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }],
        ['dark', { colorScheme: 'dark' }],
      ]) {
        const window = await Window.open(browser, options)
        await window.page.goto(flow.url)
        await window.fillIn({ ...user, password: 'not the password' })
        await window.button('Sign in').click()
        await window.page.getByRole('alert').waitFor()
        await window.page.screenshot({ path: path.join(screenshots, `${name}.png`), fullPage: true })
        const overflow = await window.page.evaluate(
          () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
        )
        assert.equal(overflow, 0)
        await window.assertConsole(/status of 401/)
      }
    })

    return { steps, version: browser.version() }
  } finally {
    await browser.close()
    client.close()
    attacker.close()
  }
})
