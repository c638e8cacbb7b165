import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { Column, column } from '../../src/schema/column.js'
import { type Dialect, sqlType } from '../../src/schema/storage.js'

const page = readFileSync(new URL('../../docs/models.md', import.meta.url), 'utf8')

/** The rows of a table of the page, as cells without backticks. */
const rows = page
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) => line.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, '').replaceAll('`', '')))

const dialects: readonly Dialect[] = ['sqlite', 'pg', 'mysql']

describe('docs/models.md', () => {
  const types = rows.filter(([declaration]) => declaration?.startsWith('column.'))

  it('names the type of each column on each database', () => {
    for (const [declaration = '', , ...stored] of types) {
      const declared = new Function('column', `return ${declaration}`)(column) as Column<unknown, boolean>
      // The page states the character set and collation of MariaDB below the table.
      expect(stored, declaration).to.deep.equal(dialects.map((dialect) => sqlType(declared.spec, dialect).replace(/ character set .*/, '')))
    }
  })

  it('has a row for each type of column', () => {
    const shown = types.map(([declaration = '']) => /^column\.(\w+)/.exec(declaration)?.[1])
    expect(shown).to.include.members(Object.keys(column))
    expect(page).to.contain('utf8mb4_nopad_bin')
    expect(sqlType(column.text().spec, 'mysql')).to.contain('utf8mb4_nopad_bin')
  })

  it('has a row for each option of a column', () => {
    const options = Object.getOwnPropertyNames(Column.prototype).filter((name) => name !== 'constructor' && name !== 'with')
    const shown = rows.flatMap(([cell = '']) => /^\.(\w+)\(/.exec(cell)?.[1] ?? [])
    expect(shown).to.have.members(options)
  })

  it('has a row for each static of HasUserMixin', () => {
    const source = readFileSync(new URL('../../src/mixins/has-user.ts', import.meta.url), 'utf8')
    const [, statics = ''] = /export interface OwnedStatics \{([\s\S]*?)^\}/m.exec(source) ?? []
    const names = [...statics.matchAll(/^ {2}(\w+): /gm)].map(([, name]) => name)
    expect(names).to.include('userOnDelete')
    expect(rows.map(([cell]) => cell)).to.include.members(names)
  })
})
