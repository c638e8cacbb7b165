import { expect } from 'chai'
import { allCombinations, type Combination, titleOf } from '../cli/init/generated.js'
import { availableDrivers } from '../helpers/databases.js'
import { workplace } from './generated-app.js'
import { emptyFolder } from './set-up.js'

const drivers = { sqlite: 'sqlite3', pg: 'pg', mariadb: 'mysql2' } as const

/** Both languages and both servers; getting-started.check.ts has Express and SQLite. With FULL=1, all 24. */
const usual = ['koa, js, mariadb', 'fastify, ts, pg']
const chosen = allCombinations.filter((one) => process.env['FULL'] === '1' || usual.includes(titleOf(one)))
const possible = chosen.filter(({ database }) => availableDrivers.includes(drivers[database]))

describe('An application that init writes, installed from the packed package', function () {
  this.timeout(400_000)

  after(() => {
    const leftOut = allCombinations.filter((one) => !possible.includes(one)).map(titleOf)
    if (leftOut.length > 0) console.log(`  Left out of the applications of init (FULL=1 runs all): ${leftOut.join('; ')}`)
  })

  for (const combination of possible) {
    it(`passes its test, has the tables of its models, and serves its first requests with ${titleOf(combination)}`, async () => {
      await followSteps(combination)
    })
  }
})

/** Runs the printed steps, and the printed requests, as they are. */
async function followSteps({ framework, language, database }: Combination): Promise<void> {
  const place = await workplace(emptyFolder(), drivers[database])
  try {
    await place.shell('npm install objection-perms')
    const printed = await place.shell(
      `npx objection-perms init --json --framework ${framework} --language ${language} --database ${database}`,
    )
    const { steps, requests } = JSON.parse(printed) as { steps: string[]; requests: string[] }
    expect(steps.slice(-2)).to.deep.equal(['npm test', 'npm start'])
    for (const step of steps.slice(0, -2)) await place.shell(step)
    if (language === 'ts') await place.shell('npm run typecheck')
    await place.shell('npx objection-perms migrate check')
    expect(await place.shell('npm test')).to.match(/^[#ℹ] pass 5$/m)

    const stop = await place.serve('npm start')
    try {
      const [token, ...others] = requests
      const answers = await place.shell([token, ...others].join(' && echo && '))
      const [, created, list, anonymous] = answers.split('\n')
      expect(JSON.parse(created ?? '')).to.include({ title: 'Hello', text: 'World' })
      expect(JSON.parse(list ?? '').data).to.have.length(1)
      expect(JSON.parse(anonymous ?? '')).to.include({ status: 401 })
    } finally {
      await stop()
    }
  } finally {
    await place.close()
  }
}
