const { scenario } = require('../app/scenario.mjs')
const expected = require('../app/expected.json')

test('a user reads and changes no note of another user', async () => {
  expect(await scenario()).toEqual(expected)
}, 60_000)
