import { existsSync } from 'node:fs'
import type { Context } from 'mocha'
import { type Browser, chromium, type Page } from 'playwright-core'

const executablePath = '/usr/bin/chromium'
const isRequired = process.env['REQUIRE_CHROMIUM'] === '1'
const args = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** Starts the browser; where there is none, the tests are left out, or fail with REQUIRE_CHROMIUM=1. */
export async function startChromium(tests: Context): Promise<Browser> {
  if (!existsSync(executablePath) && !isRequired) {
    console.log(`    left out: there is no ${executablePath} (REQUIRE_CHROMIUM=1 makes that a failure)`)
    tests.skip()
  }
  return await chromium.launch({ executablePath, args })
}

/** Collects what a page asks of others than the server, and what goes wrong in it. */
export function watch(page: Page, url: string): { readonly foreign: string[]; readonly problems: string[] } {
  const foreign: string[] = []
  const problems: string[] = []
  page.on('request', (one) => {
    if (!one.url().startsWith(url) && !one.url().startsWith('data:')) foreign.push(one.url())
  })
  page.on('pageerror', (error) => problems.push(String(error)))
  page.on('console', (message) => {
    // A page gets a 4xx response when the user is not signed in or has typed invalid values. That is not a problem.
    if (message.type() === 'error' && !/the server responded with a status of 4\d\d/.test(message.text())) problems.push(message.text())
  })
  return { foreign, problems }
}
