import { expect } from 'chai'
import { definitionLines, parseDefinition } from '../../../src/migrate/text/sqlite/definition.js'
import { changedDefinition } from '../../../src/migrate/text/sqlite/edit.js'

const statement = `CREATE TABLE \`post\` (
  [id] INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, -- the id, a number
  "title" varchar(100) collate nocase not null default 'a, b (c) \n new line' check (length("title") > 0),
  author char(36) constraint author_fk references user(id) on delete set null on update cascade deferrable initially deferred,
  price decimal(10, 2) default -1.5 null,
  total real generated always as (price * 2) stored,
  constraint "post_title_unique" unique (title),
  constraint post_check check ("price" > 0 or price is null),
  foreign key (author, price) references other(a, b)
) STRICT`

describe('The definition of an SQLite table', () => {
  const definition = parseDefinition(statement)
  const sqlOf = (changed: typeof definition) => definitionLines(changed, 'post').join('\n')

  it('has its columns, constraints and options', () => {
    expect(definition.name).to.equal('post')
    expect(definition.columns.map(({ name, type }) => [name, type])).to.deep.equal([
      ['id', 'INTEGER'],
      ['title', 'varchar(100)'],
      ['author', 'char(36)'],
      ['price', 'decimal(10, 2)'],
      ['total', 'real'],
    ])
    expect(definition.constraints.map(({ kind, name }) => [kind, name])).to.deep.equal([
      ['unique', 'post_title_unique'],
      ['check', 'post_check'],
      ['foreign', undefined],
    ])
    expect(definition.options).to.equal('STRICT')
  })

  it('is the same after it was written and read again', () => {
    expect(sqlOf(parseDefinition(sqlOf(definition)))).to.equal(sqlOf(definition))
    expect(sqlOf(definition)).to.include("default 'a, b (c) \n new line'")
  })

  it('keeps what models do not declare when a column changes', () => {
    const column = { name: 'title', type: 'varchar(200)', isNullable: true }
    const changed = changedDefinition(definition, { kind: 'changeColumn', table: 'post', from: column, to: column })
    expect(sqlOf(changed)).to.include('"title" varchar(200) null collate nocase check (length("title") > 0)')
  })

  it('has the new name of a column in keys and expressions, and not in those of other tables', () => {
    const changed = changedDefinition(definition, { kind: 'renameColumn', table: 'post', from: 'price', to: 'cost' })
    expect(sqlOf(changed)).to.include('check ("cost" > 0 or "cost" is null)')
    expect(sqlOf(changed)).to.include('generated always as ("cost" * 2) stored')
    expect(sqlOf(changed)).to.include('foreign key (author, "cost") references other(a, b)')
  })

  it('loses a foreign key, a unique constraint and a check only by their own columns and names', () => {
    const key = { name: undefined, columns: ['author'], table: 'user', targetColumns: ['id'] }
    const without = changedDefinition(definition, { kind: 'dropForeignKey', table: 'post', key })
    expect(sqlOf(without)).to.include('"author" char(36),').and.include('foreign key (author, price)')
    const index = { name: 'sqlite_autoindex_post_1', columns: ['title'], isUnique: true, isConstraint: true }
    expect(sqlOf(changedDefinition(definition, { kind: 'dropIndex', table: 'post', index }))).to.not.include('post_title_unique')
    const check = { name: 'post_check', sql: '' }
    expect(sqlOf(changedDefinition(definition, { kind: 'dropCheck', table: 'post', check })))
      .to.include('length("title")')
      .and.not.include('post_check')
  })
})
