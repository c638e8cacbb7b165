import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import ts from 'typescript-5.9'
import { BaseModel, column } from '../../src/index.js'
import { modelClass } from '../../src/schema/model-class.js'
import { eachDatabase } from '../helpers/databases.js'
import { Application } from './application.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

class Post extends BaseModel.withColumns({ title: column.string({ maxLength: 100 }), old: column.integer() }) {
  static override tableName = 'post'
}
class NewPost extends BaseModel.withColumns({
  headline: column.string({ maxLength: 200 }).renamedFrom('title'),
  status: column.enum(['draft', 'live']).default('draft'),
  old: column.integer(),
}) {
  static override tableName = 'post'
}
class LastPost extends BaseModel.withColumns({ headline: column.string({ maxLength: 50 }), slug: column.string().unique() }) {
  static override tableName = 'post'
}

/** The declarations of Node, Knex and the language, which each compilation reads. */
const parsed = new Map<string, ts.SourceFile | undefined>()

/** Returns the errors of TypeScript files of this folder that exist in memory only. */
function typeErrors(texts: readonly string[]): string[] {
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    strict: true,
    noUnusedLocals: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: true,
    noEmit: true,
    types: ['node'],
  }
  const files = new Map(texts.map((text, i) => [join(root, `test/migrate/in-memory-${i}.ts`), text]))
  const host = ts.createCompilerHost(options)
  const program = ts.createProgram([...files.keys()], options, {
    ...host,
    fileExists: (file) => files.has(file) || host.fileExists(file),
    readFile: (file) => files.get(file) ?? host.readFile(file),
    getSourceFile(file, version) {
      const text = files.get(file)
      if (text !== undefined) return ts.createSourceFile(file, text, version)
      if (!parsed.has(file)) parsed.set(file, host.getSourceFile(file, version))
      return parsed.get(file)
    },
  })
  return ts
    .getPreEmitDiagnostics(program)
    .map(({ file, messageText }) => `${files.get(file?.fileName ?? '')}\n${ts.flattenDiagnosticMessageText(messageText, ' ')}`)
}

eachDatabase('The text of a migration', (db) => {
  let app: Application
  const texts: string[] = []

  before(async function () {
    this.timeout(180_000)
    app = new Application(db.knex)
    texts.push(await app.change([modelClass(Post)], { language: 'ts' }))
    texts.push(await app.change([modelClass(NewPost)], { language: 'ts' }))
    texts.push(
      (await app.make([modelClass(LastPost)], { language: 'ts' }))?.text ?? '',
      (await app.make([modelClass(LastPost)], { name: 'lossy', language: 'ts', allowLoss: true }))?.text ?? '',
    )
  })
  after(() => app.remove())

  it('is strict TypeScript without unused functions', function () {
    this.timeout(60_000)
    expect(texts).to.have.length(4)
    expect(typeErrors(texts)).to.deep.equal([])
  })

  if (db.dialect === 'pg')
    it('is the one that the page of migrations shows', () => {
      const page = readFileSync(join(root, 'docs/migrations.md'), 'utf8')
      const upOf = (text: string) => /export async function up[\s\S]*?\n}\n/.exec(text)?.[0]
      expect(upOf(texts[1] ?? '')).to.equal(upOf(page))
    })
})
