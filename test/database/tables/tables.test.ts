import { expect } from 'chai'
import type { Knex } from 'knex'
import { knexSnakeCaseMappers } from 'objection'
import { ConfigurationError } from '../../../src/core/errors.js'
import { prepareConnections } from '../../../src/database/connections.js'
import { constraintName, constraintOf } from '../../../src/database/tables/constraints.js'
import { addColumnTo, createTablesFromSpecs, dropTables, type TableSpec } from '../../../src/database/tables/tables.js'
import { column } from '../../../src/schema/column.js'
import { countQueries, eachDatabase } from '../../helpers/databases.js'

const id = () => column.integer()
const longName = `a_table_whose_name_${'goes_on_and_'.repeat(3)}on`

const author: TableSpec = {
  name: 'author',
  primaryKey: 'id',
  columns: {
    id: id(),
    email: column.string({ maxLength: 50 }).unique(),
    displayName: column.string({ maxLength: 20 }).default('O\'Neill \\ ? "x"'),
    isActive: column.boolean().default(true),
    since: column.date().default('2020-02-29'),
    seen: column.datetime().default(new Date('2020-02-29T12:00:00.123Z')),
    salary: column.decimal(10, 2).default('1.5'),
    big: column.bigint().default('9007199254740993'),
    nickname: column.string().nullable(),
    madeBy: column.uuid().default(() => 'never asked'),
    bestBook: column.integer().nullable().references('book.id', { onDelete: 'set null' }),
  },
}
const book: TableSpec = {
  name: 'book',
  primaryKey: 'id',
  columns: {
    id: id(),
    authorId: column.integer().references('author.id', { onDelete: 'cascade' }),
    sequelOf: column.integer().nullable().references('book.id', { onDelete: 'set null' }),
    title: column.string({ maxLength: 100 }).index(),
    volume: column.integer().nullable(),
  },
  uniques: [['authorId', 'title']],
  indexes: [['title', 'volume']],
}
const loan: TableSpec = {
  name: 'loan',
  primaryKey: 'loanId',
  columns: { loanId: column.uuid(), bookId: column.integer().references('book.id', { onDelete: 'restrict' }) },
}
const long: TableSpec = {
  name: longName,
  primaryKey: 'id',
  columns: {
    id: id(),
    aColumnWithQuiteALongName: column.string({ maxLength: 10 }).unique(),
    anotherColumnWithALongName: column.string({ maxLength: 10 }).index(),
    oneThatRefers: column.integer().nullable().references('author.id', { onDelete: 'cascade' }),
  },
  uniques: [['aColumnWithQuiteALongName', 'anotherColumnWithALongName']],
}
const tables = [loan, book, long, author]

async function refusal(doing: PromiseLike<unknown>): Promise<Error> {
  try {
    await doing
  } catch (error) {
    return error as Error
  }
  throw new Error('It was not refused.')
}

eachDatabase('createTables', (db) => {
  let undo: () => void
  before(() => {
    undo = prepareConnections(db.knex)
  })
  after(() => undo())
  beforeEach(() => createTablesFromSpecs(db.knex, tables))
  afterEach(() => dropTables(db.knex, tables))

  const addAuthor = (more: object) => db.knex('author').insert({ made_by: '018f4e2a-7b3c-7def-8123-456789abcdef', ...more })
  const ids = async (table: string, knex: Knex = db.knex) =>
    (await knex(table).select('id').orderBy('id')).map((row: { id: number }) => row.id)

  it('creates tables in any order and keeps existing ones', async () => {
    await addAuthor({ id: 1, email: 'a' })
    await createTablesFromSpecs(db.knex, [...tables].reverse())
    expect(await ids('author')).to.deep.equal([1])
  })

  it('creates tables inside a transaction', async () => {
    const note: TableSpec = { name: 'note', primaryKey: 'id', columns: { id: id() } }
    await db.knex.transaction(async (trx) => createTablesFromSpecs(trx, [note]))
    expect(await db.knex.schema.hasTable('note')).to.equal(true)
    await db.knex.transaction(async (trx) => dropTables(trx, [note]))
    expect(await db.knex.schema.hasTable('note')).to.equal(false)
  })

  it('writes literal defaults to the table but not functions', async () => {
    await addAuthor({ id: 1, email: 'a' })
    const row = await db.knex('author').where({ id: 1, display_name: 'O\'Neill \\ ? "x"', since: '2020-02-29' }).first()
    expect(row.nickname).to.equal(null)
    expect(Boolean(row.is_active)).to.equal(true)
    expect(row.salary).to.equal('1.50')
    expect(row.big).to.equal('9007199254740993')
    expect(new Date(row.seen)).to.deep.equal(new Date('2020-02-29T12:00:00.123Z'))
    await refusal(db.knex('author').insert({ id: 2, email: 'b' }))
  })

  it('refuses NULL unless declared, also in the primary key', async () => {
    await refusal(addAuthor({ id: 1, email: null }))
    await refusal(db.knex('loan').insert({ loan_id: null, book_id: 1 }))
  })

  it('keeps primary keys and unique columns unique, and lets NULLs repeat', async () => {
    await addAuthor({ id: 1, email: 'a' })
    await refusal(addAuthor({ id: 1, email: 'b' }))
    await refusal(addAuthor({ id: 2, email: 'a' }))
    await addAuthor({ id: 2, email: 'A' })
    await db.knex('book').insert({ id: 1, author_id: 1, title: 't' })
    await db.knex('book').insert({ id: 2, author_id: 2, title: 't' })
    await refusal(db.knex('book').insert({ id: 3, author_id: 1, title: 't' }))
  })

  it('obeys onDelete, through tables that refer to each other and to themselves', async () => {
    await addAuthor({ id: 1, email: 'a' })
    await addAuthor({ id: 2, email: 'b' })
    await db.knex('book').insert({ id: 1, author_id: 1, title: 'first' })
    await db.knex('book').insert({ id: 2, author_id: 2, title: 'second', sequel_of: 1 })
    await db.knex('author').where({ id: 2 }).update({ best_book: 1 })
    await refusal(db.knex('book').insert({ id: 3, author_id: 9, title: 'x' }))
    await refusal(db.knex('author').where({ id: 2 }).update({ best_book: 9 }))
    await db.knex('author').where({ id: 1 }).del()
    expect(await ids('book')).to.deep.equal([2])
    expect(await db.knex('book').first('sequel_of')).to.deep.equal({ sequel_of: null })
    expect(await db.knex('author').first('best_book')).to.deep.equal({ best_book: null })
    await db.knex('loan').insert({ loan_id: '018f4e2a-7b3c-7def-8123-456789abcdef', book_id: 2 })
    await refusal(db.knex('book').where({ id: 2 }).del())
  })

  const indexes = async (table: string): Promise<Record<string, string>> => {
    const rows = (await {
      sqlite: () =>
        db.knex.raw(
          `select i.name as name, (select group_concat(name) from (select name from pragma_index_info(i.name) order by seqno)) as columns
           from pragma_index_list(?) i where i.origin = 'c'`,
          [table],
        ),
      pg: async () =>
        (
          await db.knex.raw(
            `select c.relname as name, string_agg(a.attname, ',' order by a.attnum) as columns from pg_index i join pg_class c on c.oid = i.indexrelid
             join pg_attribute a on a.attrelid = c.oid where i.indrelid = ?::regclass and not i.indisprimary group by c.relname`,
            [table],
          )
        ).rows,
      mysql: async () =>
        (
          await db.knex.raw(
            `select index_name as name, group_concat(column_name order by seq_in_index) as columns from information_schema.statistics
             where table_schema = database() and table_name = ? and index_name <> 'PRIMARY' group by index_name`,
            [table],
          )
        )[0],
    }[db.dialect]()) as { name: string; columns: string }[]
    return Object.fromEntries(rows.map((row) => [row.name, row.columns]))
  }

  it('names indexes as Knex does, and indexes foreign keys', async () => {
    const found = await indexes('book')
    expect(found).to.deep.include({
      book_author_id_title_unique: 'author_id,title',
      book_title_index: 'title',
      book_title_volume_index: 'title,volume',
    })
    // MariaDB makes its own for a foreign key.
    expect(Object.values(found)).to.include('sequel_of')
    expect(Object.keys(found)).not.to.include('book_author_id_index')
    expect(await indexes('author')).to.include({ author_email_unique: 'email' })
  })

  it('keeps long names under 63 bytes, distinct and stable', async () => {
    const found = await indexes(longName)
    expect(new Set(Object.values(found))).to.deep.equal(
      new Set([
        'a_column_with_quite_a_long_name',
        'another_column_with_a_long_name',
        'a_column_with_quite_a_long_name,another_column_with_a_long_name',
        'one_that_refers',
      ]),
    )
    for (const name of Object.keys(found)) expect(Buffer.byteLength(name)).to.be.lessThan(63)
    await createTablesFromSpecs(db.knex, tables)
    expect(await indexes(longName)).to.deep.equal(found)
  })

  it('drops tables in any order, with rows that refer to each other, and skips missing tables', async () => {
    await addAuthor({ id: 1, email: 'a' })
    await db.knex('book').insert({ id: 1, author_id: 1, title: 'first' })
    await db.knex('author').update({ best_book: 1 })
    await dropTables(db.knex, [author, { name: 'nowhere', columns: {} }, book, loan, long])
    for (const { name } of tables) expect(await db.knex.schema.hasTable(name)).to.equal(false)
    if (db.dialect === 'sqlite') expect(await db.knex.raw('PRAGMA foreign_keys')).to.deep.equal([{ foreign_keys: 1 }])
    if (db.dialect === 'mysql') expect((await db.knex.raw('select @@foreign_key_checks as checks'))[0]).to.deep.equal([{ checks: 1 }])
  })

  it('works with a Knex instance that renames identifiers', async () => {
    await dropTables(db.knex, tables)
    const knex = db.connect(knexSnakeCaseMappers())
    const release = prepareConnections(knex)
    await createTablesFromSpecs(knex, tables)
    await createTablesFromSpecs(knex, tables)
    expect(await indexes('book')).to.include({ book_author_id_title_unique: 'author_id,title' })
    await dropTables(knex, tables)
    if (db.dialect === 'sqlite') expect(await knex.raw('PRAGMA foreign_keys')).to.deep.equal([{ foreignKeys: 1 }])
    release()
  })

  it('adds one declared column in a migration of the application', async () => {
    await addAuthor({ id: 1, email: 'a' })
    await db.knex.schema.alterTable('author', (table) => {
      addColumnTo(table as Knex.CreateTableBuilder, db.knex, 'hireDate', column.date().nullable().index().spec)
      addColumnTo(table as Knex.CreateTableBuilder, db.knex, 'badge', column.string({ maxLength: 8 }).nullable().unique().spec)
      addColumnTo(table as Knex.CreateTableBuilder, db.knex, 'level', column.integer().default(3).spec)
    })
    expect(await db.knex('author').first('hire_date', 'badge', 'level')).to.deep.equal({ hire_date: null, badge: null, level: 3 })
    expect(await indexes('author')).to.include({ author_hire_date_index: 'hire_date', author_badge_unique: 'badge' })
    await db.knex.schema.alterTable('author', (table) => {
      addColumnTo(
        table as Knex.CreateTableBuilder,
        db.knex,
        'bossId',
        column.integer().nullable().references('author.id', { onDelete: 'cascade' }).spec,
      )
    })
    await refusal(db.knex('author').update({ boss_id: 77 }))
    expect(constraintOf('author_badge_unique')).to.deep.equal({ table: 'author', columns: ['badge'], kind: 'unique' })
  })

  it('only queries whether the tables exist when they do', async () => {
    const { statements } = await countQueries(db.knex, () => createTablesFromSpecs(db.knex, tables))
    expect(statements.filter((sql) => /create|alter/i.test(sql))).to.deep.equal([])
  })

  if (db.dialect === 'mysql') {
    it('gives every text column a collation that compares bytes, whatever the database has [promise 57]', async () => {
      const [rows] = await db.knex.raw(
        'select distinct collation_name as name from information_schema.columns where table_schema = database() and collation_name is not null',
      )
      expect(rows).to.deep.equal([{ name: 'utf8mb4_nopad_bin' }])
    })
  }
})

describe('constraintName', () => {
  it('distinguishes names that differ only in the part that is cut', () => {
    const names = ['a', 'b'].map((end) => constraintName('t'.repeat(50), [`${'c'.repeat(30)}${end}`], 'unique'))
    expect(new Set(names).size).to.equal(2)
    for (const name of names) {
      expect(Buffer.byteLength(name)).to.be.lessThan(63)
      expect(name).to.match(/_[0-9a-f]{10}_unique$/)
    }
  })

  it('counts bytes, not characters', () => {
    expect(Buffer.byteLength(constraintName('表'.repeat(30), ['列'], 'foreign'))).to.be.lessThan(63)
  })
})

describe('createTables', () => {
  it('refuses an unsupported Knex client', async () => {
    const stranger = { client: { driverName: 'mssql' } } as unknown as Knex
    expect(await refusal(createTablesFromSpecs(stranger, []))).to.be.instanceOf(ConfigurationError)
  })
})
