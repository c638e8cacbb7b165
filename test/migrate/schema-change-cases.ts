/** Changes of schemas as applications make them. The tables of each case are its own: its name begins theirs. */
import type { Knex } from 'knex'
import { BaseModel, type Column, column } from '../../src/index.js'
import { declareColumns } from '../../src/schema/definition/declarations.js'
import { type ModelClass, modelClass } from '../../src/schema/model-class.js'

type Columns = Record<string, Column<never, boolean>>
interface Keys {
  readonly uniques?: readonly (readonly string[])[]
  readonly indexes?: readonly (readonly string[])[]
}

/** The models of a case. @param name begins the names of its tables */
export type Models = (name: string) => ModelClass[]

export interface ChangeCase {
  readonly title: string
  readonly before: Models
  readonly after: Models
  /** Rows by the end of the table's name, with property names. `id` is 1 for the first row of a table, and so on. */
  readonly rows?: Readonly<Record<string, readonly Record<string, unknown>[]>>
  /** Replaces a part of the migration, as its comments tell the developer to. */
  readonly edit?: (text: string, name: string) => string
  /** Checks the rows after the migration. */
  readonly check?: (knex: Knex, name: string) => Promise<unknown>
  readonly expected?: unknown
}

/** Returns a model. */
export function model(table: string, columns: object, keys: Keys = {}): ModelClass {
  class Made extends BaseModel.withColumns(columns as Columns) {
    static override tableName = table
  }
  if (keys.uniques || keys.indexes) declareColumns(Made, {}, keys)
  return modelClass(Made)
}

const one =
  (columns: object, keys: Keys = {}): Models =>
  (name) => [model(name, columns, keys)]

const withParent =
  (columns: (parent: string) => object): Models =>
  (name) => [model(`${name}_parent`, { label: column.string() }), model(name, columns(`${name}_parent`))]

/** Returns the id of a row: the first one of a table is 1. */
export const idOf = (number: number): string => `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`

const values = (columnName: string) => async (knex: Knex, name: string) =>
  (await knex(name).select(columnName).orderBy('id')).map((row: Record<string, unknown>) => row[columnName])
const numbers = (columnName: string) => async (knex: Knex, name: string) => (await values(columnName)(knex, name)).map(Number)

const [title, status] = [column.string({ maxLength: 50 }), column.enum(['draft', 'live'])]
const titles = [{ title: 'first' }, { title: "it's" }]

/** Changes that keep all values, so that `down` leads back. */
export const reversible: readonly ChangeCase[] = [
  { title: 'adds a nullable column', before: one({ title }), after: one({ title, note: column.text().nullable() }), rows: { '': titles } },
  {
    title: 'adds a NOT NULL column with a default',
    before: one({ title }),
    after: one({ title, level: column.integer().default(3) }),
    rows: { '': titles },
    check: numbers('level'),
    expected: [3, 3],
  },
  {
    title: 'adds a NOT NULL column without a default, which the developer fills in',
    before: one({ title }),
    after: one({ title, slug: column.string() }),
    rows: { '': titles },
    edit: (text, name) => text.replace(new RegExp(`// (await \\w+\\('${name}'\\).*)'\\.\\.\\.'`), "$1'slug'"),
    check: values('slug'),
    expected: ['slug', 'slug'],
  },
  {
    title: 'adds a boolean that is false at first',
    before: one({ title }),
    after: one({ title, isDone: column.boolean().default(false) }),
    rows: { '': titles },
    check: numbers('is_done'),
    expected: [0, 0],
  },
  {
    title: 'adds a column with quotes, backslashes and question marks in its default',
    before: one({ title }),
    after: one({ title, mark: column.string().default("a'); process.exit(1); ('\\?`") }),
    rows: { '': titles },
    check: values('mark'),
    expected: ["a'); process.exit(1); ('\\?`", "a'); process.exit(1); ('\\?`"],
  },
  {
    title: 'adds an optional JSON column',
    before: one({ title }),
    after: one({ title, data: column.json().nullable() }),
    rows: { '': titles },
  },
  {
    title: 'renames a column',
    before: one({ title }),
    after: one({ headline: title.renamedFrom('title') }),
    rows: { '': titles },
    check: values('headline'),
    expected: ['first', "it's"],
  },
  {
    title: 'renames and widens a column',
    before: one({ title }),
    after: one({ headline: column.string({ maxLength: 80 }).renamedFrom('title') }),
    rows: { '': titles },
    check: values('headline'),
    expected: ['first', "it's"],
  },
  {
    title: 'renames a column with an index, a unique constraint and a foreign key',
    before: (name) => [
      model(name, {
        code: column.string().unique(),
        kind: column.string().index(),
        upId: column.uuid().nullable().references(`${name}.id`),
      }),
    ],
    after: (name) => [
      model(name, {
        sku: column.string().unique().renamedFrom('code'),
        sort: column.string().index().renamedFrom('kind'),
        parentId: column.uuid().nullable().references(`${name}.id`).renamedFrom('upId'),
      }),
    ],
    rows: {
      '': [
        { code: 'a', kind: 'x', upId: null },
        { code: 'b', kind: 'x', upId: idOf(1) },
      ],
    },
    check: values('parent_id'),
    expected: [null, idOf(1)],
  },
  { title: 'widens text', before: one({ title }), after: one({ title: column.string({ maxLength: 300 }) }), rows: { '': titles } },
  { title: 'removes the limit of text', before: one({ title }), after: one({ title: column.text() }), rows: { '': titles } },
  {
    title: 'changes integers to big ones',
    before: one({ count: column.integer() }),
    after: one({ count: column.bigint() }),
    rows: { '': [{ count: 1 }, { count: -2147483648 }] },
    check: async (knex, name) => (await values('count')(knex, name)).map(String),
    expected: ['1', '-2147483648'],
  },
  {
    title: 'changes integers to decimals',
    before: one({ price: column.integer() }),
    after: one({ price: column.decimal(14, 2) }),
    rows: { '': [{ price: 5 }, { price: -7 }] },
    check: numbers('price'),
    expected: [5, -7],
  },
  {
    title: 'adds digits to decimals',
    before: one({ price: column.decimal(8, 2) }),
    after: one({ price: column.decimal(12, 4) }),
    rows: { '': [{ price: '5.25' }] },
    check: numbers('price'),
    expected: [5.25],
  },
  {
    title: 'changes dates to datetimes at midnight UTC',
    before: one({ due: column.date() }),
    after: one({ due: column.datetime() }),
    rows: { '': [{ due: '2024-02-29' }] },
    check: async (knex, name) => (await values('due')(knex, name)).map((due) => new Date(due as Date | number).toISOString()),
    expected: ['2024-02-29T00:00:00.000Z'],
  },
  {
    title: 'changes booleans to integers',
    before: one({ level: column.boolean() }),
    after: one({ level: column.integer() }),
    rows: { '': [{ level: true }, { level: false }] },
    check: numbers('level'),
    expected: [1, 0],
  },
  {
    title: 'changes UUIDs to text',
    before: one({ key: column.uuid() }),
    after: one({ key: column.string({ maxLength: 64 }) }),
    rows: { '': [{ key: idOf(9) }] },
    check: values('key'),
    expected: [idOf(9)],
  },
  { title: 'makes a filled column NOT NULL', before: one({ title: title.nullable() }), after: one({ title }), rows: { '': titles } },
  { title: 'lets a column be NULL', before: one({ title }), after: one({ title: title.nullable() }), rows: { '': titles } },
  { title: 'adds a default', before: one({ title }), after: one({ title: title.default('new') }), rows: { '': titles } },
  {
    title: 'changes a default',
    before: one({ title: title.default("o'ld") }),
    after: one({ title: title.default('new?') }),
    rows: { '': titles },
  },
  { title: 'removes a default', before: one({ title: title.default('old') }), after: one({ title }), rows: { '': titles } },
  { title: 'adds an index', before: one({ title }), after: one({ title: title.index() }), rows: { '': titles } },
  { title: 'removes an index', before: one({ title: title.index() }), after: one({ title }), rows: { '': titles } },
  { title: 'adds a unique constraint', before: one({ title }), after: one({ title: title.unique() }), rows: { '': titles } },
  { title: 'removes a unique constraint', before: one({ title: title.unique() }), after: one({ title }), rows: { '': titles } },
  {
    title: 'adds a unique constraint over two columns',
    before: one({ title, place: column.integer() }),
    after: one({ title, place: column.integer() }, { uniques: [['title', 'place']] }),
    rows: {
      '': [
        { title: 'a', place: 1 },
        { title: 'a', place: 2 },
      ],
    },
  },
  {
    title: 'removes a unique constraint over two columns',
    before: one({ title, place: column.integer() }, { uniques: [['title', 'place']] }),
    after: one({ title, place: column.integer() }),
    rows: { '': [{ title: 'a', place: 1 }] },
  },
  {
    title: 'adds an index over two columns',
    before: one({ title, place: column.integer() }),
    after: one({ title, place: column.integer() }, { indexes: [['place', 'title']] }),
    rows: { '': [{ title: 'a', place: 1 }] },
  },
  {
    title: 'allows another value of an enum',
    before: one({ status }),
    after: one({ status: column.enum(['draft', 'live', "can't"]) }),
    rows: { '': [{ status: 'draft' }, { status: 'live' }] },
    check: async (knex, name) => (await knex(name).update({ status: "can't" })) > 0,
    expected: true,
  },
  {
    title: 'no longer allows a value of an enum that no row has',
    before: one({ status: column.enum(['draft', 'live', 'old']) }),
    after: one({ status }),
    rows: { '': [{ status: 'draft' }] },
  },
  {
    title: 'changes text to an enum',
    before: one({ status: column.string() }),
    after: one({ status }),
    rows: { '': [{ status: 'draft' }] },
  },
  {
    title: 'changes an enum to text',
    before: one({ status }),
    after: one({ status: column.string() }),
    rows: { '': [{ status: 'live' }] },
  },
  {
    title: 'adds a foreign key to a column',
    before: withParent(() => ({ parentId: column.uuid().nullable() })),
    after: withParent((parent) => ({ parentId: column.uuid().nullable().references(`${parent}.id`) })),
    rows: { _parent: [{ label: 'p' }], '': [{ parentId: idOf(1) }, { parentId: null }] },
  },
  {
    title: 'removes a foreign key',
    before: withParent((parent) => ({ parentId: column.uuid().nullable().references(`${parent}.id`) })),
    after: withParent(() => ({ parentId: column.uuid().nullable() })),
    rows: { _parent: [{ label: 'p' }], '': [{ parentId: idOf(1) }] },
  },
  {
    title: 'sets NULL instead of deleting with the parent',
    before: withParent((parent) => ({ parentId: column.uuid().nullable().references(`${parent}.id`, { onDelete: 'cascade' }) })),
    after: withParent((parent) => ({ parentId: column.uuid().nullable().references(`${parent}.id`, { onDelete: 'set null' }) })),
    rows: { _parent: [{ label: 'p' }], '': [{ parentId: idOf(1) }] },
  },
  {
    title: 'changes a parent without deleting the rows that refer to it with ON DELETE CASCADE',
    before: withParent((parent) => ({ parentId: column.uuid().references(`${parent}.id`, { onDelete: 'cascade' }) })),
    after: (name) => [
      model(`${name}_parent`, { label: column.string().nullable().default('x') }),
      model(name, { parentId: column.uuid().references(`${name}_parent.id`, { onDelete: 'cascade' }) }),
    ],
    rows: { _parent: [{ label: 'p' }], '': [{ parentId: idOf(1) }, { parentId: idOf(1) }] },
    check: async (knex, name) => (await knex(name).select('id')).length,
    expected: 2,
  },
  {
    title: 'adds a table that refers to another one',
    before: (name) => [model(`${name}_parent`, { label: column.string() })],
    after: withParent((parent) => ({ parentId: column.uuid().references(`${parent}.id`, { onDelete: 'cascade' }) })),
    rows: { _parent: [{ label: 'p' }] },
  },
  {
    title: 'adds two tables that refer to each other',
    before: one({ title }),
    after: (name) => [
      model(name, { title }),
      model(`${name}_a`, { bId: column.uuid().nullable().references(`${name}_b.id`) }),
      model(`${name}_b`, { aId: column.uuid().nullable().references(`${name}_a.id`) }),
    ],
    rows: { '': titles },
  },
  {
    title: 'lets rows refer to rows of their own table',
    before: one({ title }),
    after: (name) => [model(name, { title, parentId: column.uuid().nullable().references(`${name}.id`, { onDelete: 'cascade' }) })],
    rows: { '': titles },
  },
  {
    title: 'adds the join table of a relation',
    before: (name) => [model(`${name}_tag`, { label: column.string() }), model(name, { title })],
    after: (name) => {
      const tag = model(`${name}_tag`, { label: column.string() })
      const own = model(name, { title })
      Object.assign(own, {
        relationMappings: {
          tags: {
            relation: BaseModel.ManyToManyRelation,
            modelClass: tag,
            join: { from: `${name}.id`, through: { from: `${name}_link.ownId`, to: `${name}_link.tagId` }, to: `${name}_tag.id` },
          },
        },
      })
      return [tag, own]
    },
    rows: { '': titles, _tag: [{ label: 't' }] },
    check: async (knex, name) => await knex.schema.hasTable(`${name}_link`),
    expected: true,
  },
]

/** Changes that lose values: they stand in a comment without allowLoss, and `down` refuses after them. */
export const lossy: readonly (ChangeCase & { readonly loss: RegExp })[] = [
  {
    title: 'drops a column',
    before: one({ title, old: column.string() }),
    after: one({ title }),
    rows: { '': [{ title: 'a', old: 'b' }] },
    loss: /the values of \w+\.old/,
  },
  {
    title: 'drops a column with an index, a unique constraint and a check',
    before: one({ title, old: column.enum(['a', 'b']).unique() }),
    after: one({ title }),
    rows: { '': [{ title: 'a', old: 'b' }] },
    loss: /the values of \w+\.old/,
  },
  {
    title: 'drops a column with a foreign key',
    before: withParent((parent) => ({ parentId: column.uuid().nullable().references(`${parent}.id`), title })),
    after: withParent(() => ({ title })),
    rows: { _parent: [{ label: 'p' }], '': [{ parentId: idOf(1), title: 'a' }] },
    loss: /the values of \w+\.parent_id/,
  },
  {
    title: 'shortens text',
    before: one({ title }),
    after: one({ title: column.string({ maxLength: 3 }) }),
    rows: { '': [{ title: 'first' }, { title: 'ok' }] },
    check: values('title'),
    expected: ['fir', 'ok'],
    loss: /text of more than 3 characters is cut/,
  },
  {
    title: 'limits text that had no limit',
    before: one({ title: column.text() }),
    after: one({ title: column.string({ maxLength: 4 }) }),
    rows: { '': [{ title: 'longer' }] },
    check: values('title'),
    expected: ['long'],
    loss: /text of more than 4 characters is cut/,
  },
  {
    title: 'changes datetimes to dates',
    before: one({ due: column.datetime() }),
    after: one({ due: column.date() }),
    rows: { '': [{ due: new Date('2024-02-29T23:30:00.000Z') }] },
    loss: /the times of day are lost/,
  },
  {
    title: 'changes text to integers',
    before: one({ count: column.string() }),
    after: one({ count: column.integer() }),
    rows: { '': [{ count: '12' }] },
    check: numbers('count'),
    expected: [12],
    loss: /refused or changed/,
  },
]
