/** Random tables, and random changes of them, for the tests of comparisons. */
import fc from 'fast-check'
import type { SchemaChange } from '../../src/database/catalogue/schema-types.js'
import type { TableSpec } from '../../src/database/tables/tables.js'
import { Column, type ColumnSpec, column } from '../../src/schema/column.js'

type AnyColumn = Column<unknown, boolean>

/** Names that need quotes, or mean something in SQL, Knex or JavaScript. */
const oddNames = ['order', 'Group', 'ünï', 'a-b', 'x$', 'select', 'constructor', '1st', 'check', 'camelCase', 'LIKE']
const oddValues = ["it's", 'a\\b', '?', 'ü', '😀', '"', '`', ':a', '']

const types: fc.Arbitrary<AnyColumn> = fc.oneof(
  fc.integer({ min: 1, max: 300 }).map((maxLength): AnyColumn => column.string({ maxLength })),
  fc.constant<AnyColumn>(column.text()),
  fc.constant<AnyColumn>(column.integer()),
  fc.constant<AnyColumn>(column.bigint()),
  fc
    .tuple(fc.integer({ min: 4, max: 20 }), fc.integer({ min: 1, max: 3 }))
    .map(([precision, scale]): AnyColumn => column.decimal(precision, scale)),
  fc.constant<AnyColumn>(column.float()),
  fc.constant<AnyColumn>(column.boolean()),
  fc.constant<AnyColumn>(column.date()),
  fc.constant<AnyColumn>(column.datetime()),
  fc.constant<AnyColumn>(column.uuid()),
  fc.constant<AnyColumn>(column.json()),
  fc
    .uniqueArray(fc.constantFrom(...oddValues, 'open', 'done'), { minLength: 1, maxLength: 4 })
    .map((values): AnyColumn => column.enum(values)),
)

const defaults: Partial<Record<ColumnSpec['type'], readonly unknown[]>> = {
  string: ['', "it's", 'a?b', 'x\\y', '7', 'null', 'true'],
  integer: [0, -5, 42],
  boolean: [true, false],
  float: [0.5, -1.25],
  decimal: ['1.5', '0'],
  bigint: ['12345678901'],
  json: [{ a: "b'c" }, [1, 2], 'text'],
}

interface Flags {
  readonly isNullable: boolean
  readonly key: 'unique' | 'index' | 'none'
  readonly choice: number
  readonly hasDefault: boolean
}

const flags: fc.Arbitrary<Flags> = fc.record({
  isNullable: fc.boolean(),
  key: fc.constantFrom('unique', 'index', 'none', 'none', 'none'),
  choice: fc.nat(100),
  hasDefault: fc.boolean(),
})

function withFlags(declared: AnyColumn, { isNullable, key, choice, hasDefault }: Flags): AnyColumn {
  const { spec } = declared
  const values = spec.type === 'enum' ? spec.values : defaults[spec.type]
  const chosen = values?.[choice % values.length]
  const isShort = typeof chosen === 'string' && spec.maxLength !== undefined && chosen.length > spec.maxLength
  // MariaDB limits the length of indexes, and has no plain index on long text.
  const mayHaveKey = !['text', 'json'].includes(spec.type) && (spec.maxLength ?? 0) < 256
  return new Column({
    ...spec,
    isNullable,
    isUnique: mayHaveKey && key === 'unique',
    isIndexed: mayHaveKey && key === 'index',
    ...(hasDefault && chosen !== undefined && !isShort ? { hasDefault: true, defaultValue: chosen } : {}),
  })
}

const ordinary: fc.Arbitrary<AnyColumn> = fc.tuple(types, flags).map(([type, given]) => withFlags(type, given))

/** A foreign key to the id of a table, which may be the table itself or a later one. */
interface Link {
  readonly to: number
  readonly onDelete: 'cascade' | 'restrict' | 'set null' | undefined
  readonly isIndexed: boolean
}

const link: fc.Arbitrary<Link> = fc.record({
  to: fc.nat(10),
  onDelete: fc.constantFrom('cascade', 'restrict', 'set null', undefined),
  isIndexed: fc.boolean(),
})

const ids: readonly AnyColumn[] = [
  column.uuid(),
  column.string({ maxLength: 40 }),
  new Column({ ...column.integer().spec, isGenerated: true, isRowId: true }),
  new Column({ ...column.bigint().spec, isGenerated: true, isRowId: true }),
]

interface Draft {
  readonly name: string
  readonly id: AnyColumn
  readonly columns: readonly AnyColumn[]
  readonly names: readonly string[]
  readonly links: readonly Link[]
  readonly pairs: 'unique' | 'index' | 'none'
}

const draft: fc.Arbitrary<Draft> = fc.record({
  name: fc.constantFrom('post', 'tag', ...oddNames),
  id: fc.constantFrom(...ids),
  columns: fc.array(ordinary, { minLength: 2, maxLength: 6 }),
  names: fc.uniqueArray(fc.constantFrom('title', 'body', 'state', ...oddNames), {
    minLength: 6,
    maxLength: 6,
    selector: (name) => name.toLowerCase(),
  }),
  links: fc.array(link, { maxLength: 2 }),
  pairs: fc.constantFrom('unique', 'index', 'none'),
})

const isIndexable = ({ spec }: AnyColumn): boolean =>
  !['text', 'json'].includes(spec.type) && (spec.maxLength ?? 0) < 100 && spec.type !== 'enum'

function tablesOf(drafts: readonly Draft[]): TableSpec[] {
  const keyOf = ({ id }: Draft): ColumnSpec => {
    const { isGenerated: _isGenerated, ...spec } = id.spec
    return spec
  }
  return drafts.map(({ name, id, columns, names, links, pairs }) => {
    const own = columns.map((declared, i) => [`c${i}`, declared.named(names[i] ?? `c${i}`)] as const)
    const references = links.map(({ to, onDelete, isIndexed }, i) => {
      const target = drafts[to % drafts.length] as Draft
      const reference = { table: target.name, column: 'id', onDelete, isResolved: true }
      return [`link${i}`, new Column({ ...keyOf(target), isNullable: true, isIndexed, reference })] as const
    })
    const pair = own.filter(([, declared]) => isIndexable(declared)).map(([property]) => property)
    const list = pair.length >= 2 ? [pair.slice(0, 2)] : []
    return {
      name,
      columns: { id, ...Object.fromEntries(own), ...Object.fromEntries(references) },
      primaryKey: 'id',
      uniques: pairs === 'unique' ? list : [],
      indexes: pairs === 'index' ? list : [],
    }
  })
}

/** One to four tables with columns of all types, keys, indexes, and references in any direction. */
export const randomTables: fc.Arbitrary<TableSpec[]> = fc
  .uniqueArray(draft, { minLength: 1, maxLength: 4, selector: ({ name }) => name.toLowerCase() })
  .map(tablesOf)

/** A change of tables, with the kinds of differences that it makes. */
export interface RandomChange {
  readonly title: string
  readonly tables: readonly TableSpec[]
  readonly kinds: readonly SchemaChange['kind'][]
}

/** Returns the changes that can be made to tables. */
export function changesOf(tables: readonly TableSpec[], dialect: 'sqlite' | 'pg' | 'mysql'): RandomChange[] {
  const [table, ...others] = tables as [TableSpec, ...TableSpec[]]
  const columns = Object.entries(table.columns).filter(([property]) => property.startsWith('c'))
  const withTable = (changed: Partial<TableSpec>) => [{ ...table, ...changed }, ...others]
  const withColumn = (property: string, spec: ColumnSpec) => withTable({ columns: { ...table.columns, [property]: new Column(spec) } })
  const inPair = new Set([...(table.uniques ?? []), ...(table.indexes ?? [])].flat())
  const changes = columns.flatMap(([property, { spec }]): RandomChange[] => {
    const { [property]: _removed, ...rest } = table.columns
    const isFree = !inPair.has(property)
    const keys = spec.isUnique || spec.isIndexed ? ['dropIndex' as const] : []
    const checks = spec.type === 'enum' ? ['dropCheck' as const] : []
    const title = (what: string) => `${what} ${table.name}.${spec.columnName}`
    const mayHaveKey = !['text', 'json'].includes(spec.type) && (spec.maxLength ?? 0) < 256
    return [
      {
        title: title('make nullable or not'),
        tables: withColumn(property, { ...spec, isNullable: !spec.isNullable }),
        kinds: ['changeColumn'],
      },
      ...(isFree
        ? [{ title: title('drop'), tables: withTable({ columns: rest }), kinds: [...keys, ...checks, 'dropColumn' as const] }]
        : []),
      ...(spec.type === 'string'
        ? [
            {
              title: title('lengthen'),
              tables: withColumn(property, { ...spec, maxLength: (spec.maxLength ?? 0) + 1 }),
              kinds: ['changeColumn' as const],
            },
          ]
        : []),
      ...(spec.type === 'enum'
        ? [
            {
              title: title('add a value to'),
              tables: withColumn(property, { ...spec, values: [...(spec.values ?? []), 'newly added'] }),
              kinds: ['dropCheck' as const, 'addCheck' as const],
            },
          ]
        : []),
      ...(mayHaveKey && !spec.isUnique && !spec.isIndexed
        ? [{ title: title('make unique'), tables: withColumn(property, { ...spec, isUnique: true }), kinds: ['addIndex' as const] }]
        : []),
      ...(spec.isUnique || (spec.isIndexed && isFree)
        ? [{ title: title('remove the key of'), tables: withColumn(property, { ...spec, isUnique: false, isIndexed: false }), kinds: keys }]
        : []),
      ...(spec.hasDefault && !(dialect === 'mysql' && spec.type === 'json')
        ? [
            {
              title: title('remove the default of'),
              tables: withColumn(property, { ...spec, hasDefault: false, defaultValue: undefined }),
              kinds: ['changeColumn' as const],
            },
          ]
        : []),
    ]
  })
  const added = { ...table.columns, extra: column.integer().nullable(), unique: column.string({ maxLength: 20 }).nullable().unique() }
  const linked = Object.entries(table.columns).find(([property]) => property.startsWith('link'))
  return [
    ...changes,
    { title: `add columns to ${table.name}`, tables: withTable({ columns: added }), kinds: ['addColumn', 'addColumn', 'addIndex'] },
    {
      title: 'add a table',
      tables: [...tables, { name: 'further', columns: { id: column.uuid() }, primaryKey: 'id' }],
      kinds: ['createTable'],
    },
    ...(others.length > 0 && !linksTo(others, table.name) ? [{ title: `no longer declare ${table.name}`, tables: others, kinds: [] }] : []),
    ...(linked ? linkChanges(linked, withColumn, dialect) : []),
    ...((table.uniques ?? []).length > 0
      ? [{ title: `drop the unique pair of ${table.name}`, tables: withTable({ uniques: [] }), kinds: ['dropIndex' as const] }]
      : []),
  ]
}

const linksTo = (tables: readonly TableSpec[], name: string): boolean =>
  tables.some(({ columns }) => Object.values(columns).some(({ spec }) => spec.reference?.table === name))

function linkChanges(
  [property, { spec }]: readonly [string, AnyColumn],
  withColumn: (property: string, spec: ColumnSpec) => TableSpec[],
  dialect: 'sqlite' | 'pg' | 'mysql',
): RandomChange[] {
  const { reference, ...plain } = spec
  if (!reference) return []
  const onDelete = reference.onDelete === 'cascade' ? 'set null' : 'cascade'
  // On MariaDB, a declared index serves the foreign key too.
  const dropped = spec.isIndexed ? [] : ['dropIndex' as const]
  return [
    {
      title: `change the action of ${property}`,
      tables: withColumn(property, { ...spec, reference: { ...reference, onDelete } }),
      kinds: ['dropForeignKey', 'addForeignKey'],
    },
    {
      title: `remove the reference of ${property} on ${dialect}`,
      tables: withColumn(property, plain),
      kinds: ['dropForeignKey', ...dropped],
    },
  ]
}
