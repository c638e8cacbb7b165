import { expect } from 'chai'
import type {
  CheckSchema,
  ColumnSchema,
  DatabaseSchema,
  ForeignKeySchema,
  IndexSchema,
  SchemaChange,
  TableSchema,
} from '../../src/database/catalogue/schema-types.js'
import { describeChanges } from '../../src/migrate/compare/describe.js'
import { exactRules, type TableRules } from '../../src/migrate/compare/rules.js'
import { isSameFamily } from '../../src/migrate/compare/type-families.js'
import { compareSchemas } from '../../src/migrate/compare.js'
import type { Dialect } from '../../src/schema/storage.js'

const column = (name: string, type = 'integer', more: Partial<ColumnSchema> = {}): ColumnSchema => ({
  name,
  type,
  isNullable: true,
  ...more,
})
const index = (columns: readonly string[], more: Partial<IndexSchema> = {}): IndexSchema => ({
  name: `t_${columns.join('_')}_${more.isUnique ? 'unique' : 'index'}`,
  columns,
  isUnique: false,
  ...more,
})
const key = (columns: readonly string[], table: string, more: Partial<ForeignKeySchema> = {}): ForeignKeySchema => ({
  name: `t_${columns.join('_')}_foreign`,
  columns,
  table,
  targetColumns: ['id'],
  ...more,
})
const values = (name: string, list: readonly string[]): CheckSchema => ({
  name: `t_${name}_check`,
  sql: `${name} in (...)`,
  column: name,
  values: list,
})

interface Parts {
  readonly columns?: readonly ColumnSchema[]
  readonly primaryKey?: readonly string[]
  readonly indexes?: readonly IndexSchema[]
  readonly foreignKeys?: readonly ForeignKeySchema[]
  readonly checks?: readonly CheckSchema[]
  readonly isView?: boolean
}
const table = (name: string, { columns = [], ...parts }: Parts = {}): TableSchema => ({
  name,
  columns: new Map([column('id', 'integer', { isNullable: false }), ...columns].map((one) => [one.name, one])),
  primaryKey: ['id'],
  indexes: [],
  foreignKeys: [],
  checks: [],
  ...parts,
})
const schema = (tables: readonly TableSchema[], dialect: Dialect = 'pg'): DatabaseSchema => ({
  dialect,
  tables: new Map(tables.map((one) => [one.name, one])),
})
const rules = (more: Partial<TableRules>): ReadonlyMap<string, TableRules> => new Map([['t', { ...exactRules, ...more }]])
const renamedFrom = (names: Record<string, readonly string[]>) => rules({ renamedFrom: new Map(Object.entries(names)) })

/** Compares one table `t`, on PostgreSQL. */
function changes(from: Parts, to: Parts, given: ReadonlyMap<string, TableRules> = rules({})): SchemaChange[] {
  return compareSchemas(schema([table('t', from)]), { ...schema([table('t', to)]), rules: given })
}
const kinds = (list: readonly SchemaChange[]) => list.map(({ kind }) => kind)

describe('compareSchemas()', () => {
  describe('renames a column', () => {
    it('that has its earlier name, with its index, keys and check', () => {
      const parts = (name: string) => ({
        columns: [column(name)],
        indexes: [index([name], { name: 'kept' })],
        foreignKeys: [key([name], 't', { name: 'kept' })],
        checks: [values(name, ['a'])],
      })
      expect(changes(parts('a'), parts('b'), renamedFrom({ b: ['a'] }))).to.deep.equal([
        { kind: 'renameColumn', table: 't', from: 'a', to: 'b' },
      ])
    })

    it('whose new name was that of another renamed column', () => {
      const found = changes(
        { columns: [column('a'), column('b')] },
        { columns: [column('b'), column('c')] },
        renamedFrom({ b: ['a'], c: ['b'] }),
      )
      expect(found).to.deep.equal([
        { kind: 'renameColumn', table: 't', from: 'b', to: 'c' },
        { kind: 'renameColumn', table: 't', from: 'a', to: 'b' },
      ])
    })

    it('not when it has its new name already, and not when the earlier name is declared again', () => {
      expect(kinds(changes({ columns: [column('b')] }, { columns: [column('b')] }, renamedFrom({ b: ['a'] })))).to.deep.equal([])
      const again = changes({ columns: [column('a')] }, { columns: [column('a'), column('b')] }, renamedFrom({ b: ['a'] }))
      expect(again).to.deep.equal([{ kind: 'addColumn', table: 't', column: column('b') }])
    })

    it('before it changes the column, and after it drops what is under the earlier name', () => {
      const from = { columns: [column('a')], indexes: [index(['a'])] }
      const found = changes(from, { columns: [column('b', 'text')] }, renamedFrom({ b: ['a'] }))
      expect(kinds(found)).to.deep.equal(['dropIndex', 'renameColumn', 'changeColumn'])
      expect(found[0]).to.deep.equal({ kind: 'dropIndex', table: 't', index: index(['a']) })
      expect(found[2]).to.deep.equal({ kind: 'changeColumn', table: 't', from: column('b'), to: column('b', 'text') })
    })
  })

  describe('of a table of which models declare a part', () => {
    const partial = (columns: TableRules['columns']) => rules({ isWhole: false, columns })

    it('keeps columns, indexes and keys that no model declares', () => {
      const from = {
        columns: [column('a'), column('more')],
        indexes: [index(['more']), index(['a'], { isUnique: true })],
        foreignKeys: [key(['more'], 'x')],
      }
      expect(changes(from, { columns: [column('a')] }, partial(new Map([['a', 'family']])))).to.deep.equal([])
    })

    it('adds indexes and keys of new columns only', () => {
      const to = {
        columns: [column('a'), column('b')],
        indexes: [index(['a']), index(['b'])],
        foreignKeys: [key(['a'], 't'), key(['b'], 't')],
      }
      const found = changes(
        { columns: [column('a')] },
        to,
        partial(
          new Map([
            ['a', 'family'],
            ['b', 'family'],
          ]),
        ),
      )
      expect(kinds(found)).to.deep.equal(['addColumn', 'addIndex', 'addForeignKey'])
    })

    it('compares only whether columns hold the same kind of values', () => {
      const from = { columns: [column('a', 'bigint', { isNullable: false, default: '7' }), column('b', 'boolean')] }
      const to = { columns: [column('a'), column('b', 'jsonb')] }
      const found = changes(
        from,
        to,
        partial(
          new Map([
            ['a', 'family'],
            ['b', 'family'],
          ]),
        ),
      )
      expect(found.map((change) => 'to' in change && change.to)).to.deep.equal([column('b', 'jsonb')])
    })
  })

  it('leaves the columns of packaged migrations, and their missing tables, to these', () => {
    const ofLibrary = rules({ isCreatedByLibrary: true, columns: new Map([['a', 'presence']]) })
    expect(changes({ columns: [column('a')] }, { columns: [column('a', 'text')], indexes: [index(['a'])] }, ofLibrary)).to.deep.equal([])
    expect(kinds(changes({}, { columns: [column('a')] }, ofLibrary))).to.deep.equal(['addColumn'])
    expect(compareSchemas(schema([]), { ...schema([table('t')]), rules: ofLibrary })).to.deep.equal([])
  })

  describe('finds no difference', () => {
    const equal: Record<string, readonly [Parts, Parts]> = {
      'in the names of indexes and keys': [
        { columns: [column('a')], indexes: [index(['a'], { name: 'x' })], foreignKeys: [key(['a'], 't', { name: 'y' })] },
        { columns: [column('a')], indexes: [index(['a'])], foreignKeys: [key(['a'], 't')] },
      ],
      'between a unique index and a unique constraint': [
        { columns: [column('a')], indexes: [index(['a'], { isUnique: true })] },
        { columns: [column('a')], indexes: [index(['a'], { isUnique: true, isConstraint: true })] },
      ],
      'in an index that a longer one begins with': [
        { columns: [column('a'), column('b')], indexes: [index(['a', 'b'], { name: 'own' })] },
        { columns: [column('a'), column('b')], indexes: [index(['a'])] },
      ],
      'in further indexes over several columns, and in those with a condition': [
        {
          columns: [column('a'), column('b')],
          indexes: [index(['b', 'a'], { name: 'own' }), index(['a'], { isPartial: true, sql: 'create index ...' })],
        },
        { columns: [column('a'), column('b')] },
      ],
      'in computed columns': [{ columns: [column('a', 'integer', { computed: 'id * 2' })] }, {}],
      'in defaults that are expressions': [{ columns: [column('a', 'date', { default: 'now()' })] }, { columns: [column('a', 'date')] }],
      'in the order of the values of an enum': [
        { columns: [column('a')], checks: [values('a', ['x', 'y'])] },
        { columns: [column('a')], checks: [values('a', ['y', 'x'])] },
      ],
      'in checks that do not list values': [{ columns: [column('a')], checks: [{ name: 'c', sql: 'a > 0' }] }, { columns: [column('a')] }],
      'in ON UPDATE': [
        { columns: [column('a')], foreignKeys: [key(['a'], 't', { onUpdate: 'cascade' })] },
        { columns: [column('a')], foreignKeys: [key(['a'], 't')] },
      ],
      'in a view': [{ isView: true }, { columns: [column('a')] }],
    }
    for (const [what, [from, to]] of Object.entries(equal)) {
      it(what, () => expect(describeChanges(changes(from, to))).to.deep.equal([]))
    }

    it('in tables that no model declares, unless they are to be dropped', () => {
      const from = schema([table('t'), table('old', { foreignKeys: [key(['id'], 'older')] }), table('older')])
      expect(compareSchemas(from, schema([table('t')]))).to.deep.equal([])
      const dropped = compareSchemas(from, schema([table('t')]), { dropTables: ['old', 'older', 't', 'none'] })
      expect(dropped.map((change) => [change.kind, typeof change.table === 'string' ? change.table : change.table.name])).to.deep.equal([
        ['dropForeignKey', 'old'],
        ['dropTable', 'old'],
        ['dropTable', 'older'],
      ])
    })
  })

  it('drops a column after all that contains it, also an index with a condition and a check of several columns', () => {
    const from = {
      columns: [column('a'), column('b')],
      indexes: [
        index(['a', 'b'], { name: 'own' }),
        index(['b'], { name: 'part', sql: 'create index part on t (b) where a > 0', isPartial: true }),
      ],
      foreignKeys: [key(['a'], 't')],
      checks: [{ name: 'both', sql: '(a < b)' }],
    }
    expect(kinds(changes(from, { columns: [column('b')] }))).to.deep.equal([
      'dropForeignKey',
      'dropIndex',
      'dropIndex',
      'dropCheck',
      'dropColumn',
    ])
  })

  it('removes the foreign keys of a column while its type changes, on both sides, and keeps their ON UPDATE', () => {
    const tables = (type: string) => [
      table('t', { columns: [column('code', type)], indexes: [index(['code'], { isUnique: true })] }),
      table('u', { columns: [column('code', type)], foreignKeys: [key(['code'], 't', { targetColumns: ['code'], onUpdate: 'cascade' })] }),
    ]
    for (const dialect of ['pg', 'mysql'] as const) {
      const found = compareSchemas(schema(tables('integer'), dialect), schema(tables('text'), dialect))
      expect(kinds(found)).to.deep.equal(['dropForeignKey', 'changeColumn', 'changeColumn', 'addForeignKey'])
      expect(found.at(-1)).to.have.nested.property('key.onUpdate', 'cascade')
      expect(describeChanges(found)).to.have.length(2)
    }
    expect(kinds(compareSchemas(schema(tables('integer'), 'sqlite'), schema(tables('text'), 'sqlite')))).to.deep.equal([
      'changeColumn',
      'changeColumn',
    ])
  })

  it('creates tables after those they refer to, and adds the foreign keys of a cycle later', () => {
    const one = table('one', { columns: [column('two_id')], foreignKeys: [key(['two_id'], 'two')] })
    const two = table('two', { columns: [column('one_id')], foreignKeys: [key(['one_id'], 'one')] })
    const three = table('three', { columns: [column('one_id')], foreignKeys: [key(['one_id'], 'one')] })
    const found = compareSchemas(schema([]), schema([three, one, two]))
    expect(found.map((change) => [change.kind, typeof change.table === 'string' ? change.table : change.table.name])).to.deep.equal([
      ['createTable', 'two'],
      ['createTable', 'one'],
      ['createTable', 'three'],
      ['addForeignKey', 'two'],
    ])
    expect(kinds(compareSchemas(schema([], 'sqlite'), schema([three, one, two], 'sqlite')))).to.deep.equal([
      'createTable',
      'createTable',
      'createTable',
    ])
  })

  it('leaves the indexes of foreign keys to MariaDB', () => {
    const plain = { columns: [column('a')] }
    const linked = { ...plain, foreignKeys: [key(['a'], 't')], indexes: [index(['a'], { name: 't_a_foreign' })] }
    const unique = { ...linked, indexes: [index(['a'], { isUnique: true })] }
    const between = (from: Parts, to: Parts) =>
      kinds(compareSchemas(schema([table('t', from)], 'mysql'), schema([table('t', to)], 'mysql')))
    expect(between(plain, linked)).to.deep.equal(['addForeignKey'])
    expect(between(linked, plain)).to.deep.equal(['dropForeignKey', 'dropIndex'])
    expect(between(linked, unique)).to.deep.equal(['addIndex'])
    expect(between(unique, linked)).to.deep.equal(['dropForeignKey', 'dropIndex', 'addForeignKey'])
  })
})

describe('describeChanges()', () => {
  const described: Record<string, readonly [Parts, Parts, string]> = {
    'a changed column': [
      { columns: [column('title', 'character varying(100)', { isNullable: false })] },
      { columns: [column('title', 'character varying(200)', { isNullable: false, default: "'x'" })] },
      "t.title: varchar(100) not null, the models declare varchar(200) not null default 'x'.",
    ],
    'a missing column': [{}, { columns: [column('a')] }, 't.a: the column does not exist, the models declare integer.'],
    'a column that no model declares': [{ columns: [column('a')] }, {}, 't.a: no model declares the column (integer).'],
    'another action of a foreign key': [
      { columns: [column('a')], foreignKeys: [key(['a'], 't')] },
      { columns: [column('a')], foreignKeys: [key(['a'], 't', { onDelete: 'cascade' })] },
      't: the foreign key (a) to t (id) with ON DELETE NO ACTION, the models declare ON DELETE CASCADE.',
    ],
    'other values of an enum': [
      { columns: [column('a')], checks: [values('a', ['x'])] },
      { columns: [column('a')], checks: [values('a', ['x', 'y'])] },
      "t.a: the values are 'x', the models declare 'x', 'y'.",
    ],
    'a missing unique index': [
      { columns: [column('a')] },
      { columns: [column('a')], indexes: [index(['a'], { isUnique: true })] },
      't: the unique index t_a_unique (a) does not exist.',
    ],
  }
  for (const [what, [from, to, sentence]] of Object.entries(described)) {
    it(`names ${what} in one sentence`, () => expect(describeChanges(changes(from, to))).to.deep.equal([sentence]))
  }
})

describe('isSameFamily()', () => {
  const same: readonly (readonly [string, string, Dialect])[] = [
    ['int(10) unsigned', 'int(11)', 'mysql'],
    ['text', 'character varying(255)', 'pg'],
    ['json', 'jsonb', 'pg'],
    ['json', 'longtext', 'mysql'],
    ['timestamp without time zone', 'timestamp(3) with time zone', 'pg'],
    ['bigint', 'datetime', 'sqlite'],
    ['mood', 'character varying(255)', 'pg'],
    ['integer', 'boolean', 'sqlite'],
  ]
  const different: readonly (readonly [string, string, Dialect])[] = [
    ['character varying(20)', 'integer', 'pg'],
    ['integer', 'character varying(20)', 'pg'],
    ['boolean', 'text', 'pg'],
    ['date', 'boolean', 'mysql'],
    ['uuid', 'integer', 'pg'],
  ]
  it('accepts the types in which applications store one kind of values', () => {
    for (const [existing, declared, dialect] of same)
      expect(isSameFamily(existing, declared, dialect), `${existing} ${declared}`).to.equal(true)
  })
  it('distinguishes other types', () => {
    for (const [existing, declared, dialect] of different)
      expect(isSameFamily(existing, declared, dialect), `${existing} ${declared}`).to.equal(false)
  })
})
