import { scenario } from './scenario'

declare const test: (title: string, body: () => Promise<void>, timeout: number) => void
declare const expect: (value: unknown) => { toEqual(expected: unknown): void }

test('a user reads and changes no note of another user', async () => {
  expect(await scenario()).toEqual(require('../app/expected.json'))
}, 120_000)
