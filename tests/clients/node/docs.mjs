// The page at `/docs` in Chromium: it shows the API's description, and calls the API.

import assert from 'node:assert/strict'
import { tell } from './story.mjs'
import { Window, launch } from './window.mjs'

// Sends the request of an operation that needs no input, and returns the status that is shown.
async function execute(page, operation) {
  const block = page.locator(`#operations-${operation}`)
  await block.locator('.opblock-summary-control').click()
  await block.getByRole('button', { name: 'Try it out' }).click()
  await block.getByRole('button', { name: 'Execute' }).click()
  return block.locator('.live-responses-table tbody .response-col_status').innerText()
}

await tell(async ({ chromium, issuer, screenshots, token }) => {
  const browser = await launch(chromium)
  try {
    const window = await Window.open(browser)
    const { page } = window
    const elsewhere = []
    page.on('request', request => {
      const { origin, protocol } = new URL(request.url())
      if (origin !== issuer && protocol !== 'data:') elsewhere.push(request.url())
    })
    await page.goto(issuer)
    await page.getByRole('link', { name: 'All calls' }).click()
    const operations = page.locator('.opblock')
    await operations.first().waitFor()
    assert.equal(page.url(), `${issuer}/docs`)
    const shown = await operations.count()
    await page.screenshot({ path: `${screenshots}/docs.png` })

    const alive = await execute(page, 'Health-alive')
    await page.getByRole('button', { name: 'Authorize' }).first().click()
    await page.locator('#auth-bearer-value').fill(token)
    await page.locator('.auth-container', { hasText: 'bearer' }).getByRole('button', { name: 'Apply credentials' }).click()
    await page.getByRole('button', { name: 'Close' }).first().click()
    const me = await execute(page, 'Accounts-me')

    await window.assertConsole()
    assert.deepEqual(elsewhere, [])
    return { shown, alive, me }
  } finally {
    await browser.close()
  }
})
