import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { compareVersions } from '../../src/cli/commands/doctor/packages.js'
import { type Program, parseDocument } from './parse.js'
import { type Compiled, compile } from './run.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const inDocs = existsSync(join(root, 'docs')) ? readdirSync(join(root, 'docs')) : []
const documents = ['README.md', ...inDocs.filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)]
  .filter((name) => existsSync(join(root, name)))
  .map((name) => ({ name, programs: parseDocument(name, readFileSync(join(root, name), 'utf8')) }))
  .filter(({ programs }) => programs.length > 0)

/** Whether a program changes types everywhere, so that it cannot be compiled with those of other documents. */
const augments = ({ text }: Program) => /^declare (?:module|global)\b/m.test(text)

describe('The snippets of the documents, compiled and run', function () {
  this.timeout(180_000)
  const compiled = new Map<Program, Compiled>()
  before(async () => {
    if (!existsSync(join(root, 'dist/index.js'))) throw new Error('The snippets run against the built package: npm run build first.')
    // Each run of the compiler loads the same declarations, so most documents share one run.
    const apart = documents.filter(({ programs }) => programs.some(augments)).map(({ programs }) => programs)
    const together = documents.flatMap(({ programs }) => (apart.includes(programs) ? [] : programs))
    for (const programs of [together, ...apart]) {
      const result = await compile(programs, { shareProcess: process.env['FULL'] !== '1' })
      for (const program of programs) compiled.set(program, result)
    }
  })
  after(() => {
    for (const result of new Set(compiled.values())) result.remove()
  })

  for (const { name, programs } of documents) {
    describe(name, () => {
      for (const program of programs) {
        it(program.name, async function () {
          const result = compiled.get(program) as Compiled
          expect(result.errorsOf(program), 'what the compiler says').to.deep.equal([])
          if (program.since !== undefined && compareVersions(process.versions.node, program.since) < 0) {
            console.log(`      Left out on Node ${process.versions.node}: the program '${program.name}' needs Node ${program.since}.`)
            this.skip()
          }
          await result.run(program)
        })
      }
    })
  }
})
