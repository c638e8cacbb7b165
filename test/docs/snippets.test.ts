import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { parseDocument } from './parse.js'
import { type Compiled, compile } from './run.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const inDocs = existsSync(join(root, 'docs')) ? readdirSync(join(root, 'docs')) : []
const documents = ['README.md', ...inDocs.filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)]

describe('The snippets of the documents, compiled and run', () => {
  for (const document of documents.filter((name) => existsSync(join(root, name)))) {
    const programs = parseDocument(document, readFileSync(join(root, document), 'utf8'))
    if (programs.length === 0) continue
    describe(document, function () {
      this.timeout(180_000)
      let compiled: Compiled
      before(async () => {
        if (!existsSync(join(root, 'dist/index.js'))) throw new Error('The snippets run against the built package: npm run build first.')
        compiled = await compile(programs)
      })
      after(() => compiled?.remove())

      for (const program of programs) {
        it(program.name, async () => {
          expect(compiled.errorsOf(program), 'what the compiler says').to.deep.equal([])
          await compiled.run(program)
        })
      }
    })
  }
})
