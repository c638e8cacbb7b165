import { readFileSync } from 'node:fs'
import { scenario } from '../app/scenario.mjs'

const expected = JSON.parse(readFileSync(new URL('../app/expected.json', import.meta.url), 'utf8'))

test('a user reads and changes no note of another user', async () => {
  expect(await scenario()).toEqual(expected)
}, 60_000)
