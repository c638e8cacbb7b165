import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import type { Browser, Page } from 'playwright-core'
import { nodeAdapter } from '../../../src/adapters/node.js'
import { openFullZoo } from '../../conformance/full-zoo.js'
import { password, type Zoo } from '../../conformance/zoo.js'
import { startChromium } from '../../helpers/chromium.js'
import { documentedApi } from '../openapi/documented.js'

describe('The page that shows the OpenAPI document', function () {
  this.timeout(90_000)
  let zoo: Zoo
  let server: Server
  let url: string

  before(async () => {
    zoo = await openFullZoo()
    server = createServer(nodeAdapter(zoo.perms).router(documentedApi()))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  after(async () => {
    server.closeAllConnections()
    server.close()
    await zoo.close()
  })

  it('has no inline scripts, loads no external files, and cannot be framed', async () => {
    const answer = await fetch(`${url}/docs`)
    expect(answer.status).to.equal(200)
    const policy = Object.fromEntries(
      (answer.headers.get('content-security-policy') ?? '')
        .split('; ')
        .map((one) => [one.split(' ')[0], one.split(' ').slice(1).join(' ')]),
    )
    expect(policy).to.include({
      'default-src': "'none'",
      'script-src': "'self'",
      'style-src': "'self'",
      'connect-src': "'self'",
      'frame-ancestors': "'none'",
      'base-uri': "'none'",
    })
    const html = await answer.text()
    expect(html).not.to.match(/https?:|<script(?![^>]* src=)|\son\w+=/)
    for (const [, path] of html.matchAll(/(?:src|href)="(\/[^"]+)"/g)) expect((await fetch(url + path)).status, path).to.equal(200)
  })

  it('escapes the title', async () => {
    const { docsEndpoints } = await import('../../../src/http/serve/docs-page.js')
    const [first] = docsEndpoints('/docs', '/openapi.json', '<script>alert(1)</script>')
    const { body } = first!.endpoint.options.handler({ request: { url: '/docs', path: '/docs' } } as never) as { body: string }
    expect(body).not.to.include('<script>alert')
  })

  describe('in Chromium', () => {
    let browser: Browser
    before(async function () {
      browser = await startChromium(this)
    })
    after(() => browser?.close())

    async function open(): Promise<{ page: Page; foreign: string[]; problems: string[] }> {
      const page = await browser.newPage()
      const foreign: string[] = []
      const problems: string[] = []
      page.on('request', (request) => {
        if (!request.url().startsWith(url) && !request.url().startsWith('data:')) foreign.push(request.url())
      })
      page.on('console', (message) => {
        if (message.type() === 'error') problems.push(message.text())
      })
      page.on('pageerror', (error) => problems.push(String(error)))
      await page.goto(`${url}/docs`)
      return { page, foreign, problems }
    }

    /** Opens an operation, fills its body in where there is one, and sends it. @returns the answer as the page shows it */
    async function tryOut(page: Page, operationId: string, body?: object): Promise<{ status: string; text: string }> {
      const operation = page.locator(`.opblock[id$="-${operationId}"]`)
      await operation.locator('.opblock-summary-control').click()
      await operation.getByRole('button', { name: 'Try it out' }).click()
      if (body) await operation.locator('textarea.body-param__text').fill(JSON.stringify(body))
      await operation.getByRole('button', { name: 'Execute' }).click()
      const live = operation.locator('.live-responses-table .response')
      await live.waitFor()
      const status = (await live.locator('.response-col_status').innerText()).trim()
      const text = await live.locator('.response-col_description pre').first().innerText()
      return { status: status.slice(0, 3), text }
    }

    it('lets a user sign in, authorize, and try an operation', async () => {
      const { page, foreign, problems } = await open()
      await page.locator('.opblock').first().waitFor()
      const signedIn = await tryOut(page, 'loginUser', { email: 'ada@example.com', password })
      expect(signedIn.status).to.equal('200')
      const { access_token } = JSON.parse(signedIn.text) as { access_token: string }
      await page.locator('.auth-wrapper .authorize').first().click()
      const dialog = page.locator('.dialog-ux')
      await dialog.getByRole('textbox').fill(access_token)
      await dialog.getByRole('button', { name: /apply credentials|authorize/i }).click()
      await dialog.getByRole('button', { name: 'Close' }).last().click()
      const me = await tryOut(page, 'getCurrentUser')
      expect(me.status).to.equal('200')
      expect(JSON.parse(me.text)).to.include({ email: 'ada@example.com', id: zoo.ids.ada })
      const made = await tryOut(page, 'createUserDocument', { title: 'From the page', content: 'x' })
      expect(made.status).to.equal('201')
      expect(JSON.parse(made.text)).to.include({ title: 'From the page', userId: zoo.ids.ada })
      expect(foreign).to.deep.equal([])
      expect(problems).to.deep.equal([])
      await page.close()
    })

    it('shows an error response unchanged', async () => {
      const { page } = await open()
      const { status, text } = await tryOut(page, 'getCurrentUser')
      expect(status).to.equal('401')
      expect(JSON.parse(text)).to.include({ code: 'unauthorized' })
      await page.close()
    })
  })
})
