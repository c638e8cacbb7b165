import { expect, test } from 'vitest'
import expected from '../app/expected.json'
import { scenario } from '../app/scenario.mjs'

test('a user reads and changes no note of another user', async () => {
  expect(await scenario()).toEqual(expected)
}, 60_000)
