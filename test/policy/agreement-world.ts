import fc from 'fast-check'
import { Model } from 'objection'
import { BasePermsModel, belongsTo, column, Domain, HasDomainMixin, hasMany, User } from '../../src/index.js'
import { byText, type SuiteIds } from '../helpers/id-kinds.js'

export const seed = Number(process.env['AGREEMENT_SEED'] ?? 20_240_530)

export const orders = ['gt', 'gte', 'lt', 'lte']

const keys = ['00000000-0000-4000-8000-00000000000a', 'ffffffff-ffff-4fff-8fff-ffffffffffff', 'a0000000-0000-4000-8000-000000000000']
const moods = ['a', 'A', 'á', 'b'] as const

// Values that databases and JavaScript are known to see differently.
const texts = [
  '',
  ' ',
  'a',
  'A',
  'a ',
  'á',
  '\u0061\u0301',
  '\u00e9',
  '\u0065\u0301',
  'ß',
  'ss',
  'Z',
  'b',
  '😀',
  '😁',
  '\ufffd',
  '\uff21',
  '%',
  '_',
]
texts.push(
  '\\',
  '\\%',
  'a%b',
  'a_b',
  'axb',
  'a\\b',
  '*',
  '?',
  '[a]',
  ']',
  '[',
  '^a',
  'a\nb',
  '10',
  '9',
  'null',
  "a'b",
  'a"b',
  'a??b',
  ':a',
  '\t',
)
export const likes = [
  '%',
  '_',
  'a%',
  '%a',
  '%á%',
  'A_',
  'a_b',
  'a\\%b',
  'a\\_b',
  '\\\\',
  '\\',
  'a\\',
  '[a]',
  '*',
  '?',
  '%*%',
  '%]',
  '^a',
  '_\u0301',
  '%\n%',
  '',
]

export interface Kind {
  readonly spec: unknown
  /** As rows hold it. */
  readonly values: readonly unknown[]
  /** Other ways to write one of them in a policy. */
  readonly spellings?: readonly unknown[]
  readonly hasLike?: boolean
  /** More digits than SQLite orders by: see sqlValue() in src/schema/storage.ts. */
  readonly isLong?: boolean
  /** Something to compare with <. */
  readonly rank: (value: never) => number | bigint | string
}

const codePoints = (text: string) => [...text].map((c) => (c.codePointAt(0) as number).toString(16).padStart(6, '0')).join(' ')

export const kinds = {
  name: { spec: column.string({ maxLength: 40 }), values: texts, hasLike: true, rank: codePoints },
  story: { spec: column.text(), values: texts, hasLike: true, rank: codePoints },
  mood: { spec: column.enum(moods), values: moods, hasLike: true, rank: codePoints },
  count: { spec: column.integer(), values: [-2147483648, -10, -1, 0, 1, 9, 10, 2147483647], spellings: [-0], rank: (n: number) => n },
  price: {
    spec: column.decimal(10, 2),
    values: ['-99999999.99', '-1.50', '-0.05', '0.00', '0.05', '9.99', '10.00', '99999999.99'],
    spellings: [0, '0', -1.5, '10', 9.99, '-0', '010.0'],
    rank: (text: string | number) => Math.round(Number(text) * 100) + 0,
  },
  exact: {
    spec: column.decimal(30, 4),
    isLong: true,
    values: ['12345678901234567890.0001', '12345678901234567890.0002', '-12345678901234567890.0001', '2.0000', '10.0000'],
    rank: (text: string) => BigInt(text.replace('.', '')),
  },
  big: {
    spec: column.bigint(),
    values: ['-9223372036854775808', '-10', '-9', '0', '9', '10', '9007199254740992', '9007199254740993', '9223372036854775807'],
    spellings: [0, 9, 10n, 9007199254740993n, '-0', '009'],
    rank: (whole: string | number | bigint) => BigInt(whole),
  },
  isOn: { spec: column.boolean(), values: [true, false], rank: (value: boolean) => Number(value) },
  day: {
    spec: column.date(),
    values: ['1582-10-10', '1969-12-31', '2018-11-04', '2024-02-29', '9999-12-31'],
    rank: (text: string) => text,
  },
  moment: {
    spec: column.datetime(),
    values: ['1969-12-31T23:59:59.999Z', '1970-01-01T00:00:00.000Z', '2024-03-31T01:30:00.001Z', '2024-03-31T01:30:00.002Z'].map(
      (t) => new Date(t),
    ),
    spellings: ['2024-03-31T03:30:00.001+02:00', '1970-01-01T00:00:00Z'],
    rank: (moment: Date | string) => new Date(moment).getTime(),
  },
  key: { spec: column.uuid(), values: keys, spellings: keys.map((key) => key.toUpperCase()), rank: (key: string) => key.toLowerCase() },
} satisfies Record<string, Kind>
export type ColumnName = keyof typeof kinds
export const kindOf = (name: string): Kind => kinds[name as ColumnName]
export const columnNames = Object.keys(kinds) as ColumnName[]

const nullable = Object.fromEntries(columnNames.map((name) => [name, (kinds[name].spec as ReturnType<typeof column.string>).nullable()]))

export type Row = Readonly<Record<string, unknown>> & { readonly id: string }

export type AgreementWorld = ReturnType<typeof agreementWorld>

/** The models and rows of the suite, with ids of one kind. */
export function agreementWorld(ids: SuiteIds) {
  const numbered = (kind: number, n: number) => ids.nth(kind * 100 + n)
  const userIds = [1, 2, 3].map((n) => numbered(1, n))
  const domainIds = [1, 2].map((n) => numbered(2, n))
  // Where ids are no UUIDs, a domain may have the id of another one as its name.
  const domainNames = ids.name === 'uuid' ? ['press', 'Press house'] : ['press', String(domainIds[0])]

  class Account extends User.withColumns({ id: ids.key() }) {
    static override tableName = 'agree_user'
  }
  class Place extends Domain.withColumns({ id: ids.key() }) {
    static override tableName = 'agree_domain'
  }
  class Tag extends BasePermsModel.withColumns({ id: ids.key(), ...nullable, ownerId: ids.column().nullable() }) {
    static override tableName = 'agree_tag'
    static userField = 'ownerId'
  }
  class Group extends BasePermsModel.withColumns({ id: ids.key(), ...nullable, ownerId: ids.column().nullable() }) {
    static override tableName = 'agree_group'
    static userField = 'ownerId'
  }
  class Part extends BasePermsModel.withColumns({
    id: ids.key(),
    ...nullable,
    ownerId: ids.column().nullable(),
    itemId: ids.column().nullable(),
    tagId: ids.column().nullable(),
  }) {
    static override tableName = 'agree_part'
    static userField = 'ownerId'
    static override relationMappings = { tag: belongsTo(() => Tag, 'tagId') }
  }
  class Item extends HasDomainMixin(BasePermsModel).withColumns({
    id: ids.key(),
    ...nullable,
    ownerId: ids.column().nullable(),
    editorId: ids.column().nullable(),
    groupId: ids.column().nullable(),
    parentId: ids.column().nullable(),
  }) {
    static override tableName = 'agree_item'
    static userField = 'ownerId'
    // Only the rules count here: no global scope and no bypass.
    static override unguarded = ['domain']
    static override adminBypass = false
    static override relationMappings = {
      group: belongsTo(() => Group, 'groupId'),
      parts: hasMany(() => Part, 'itemId'),
      parent: belongsTo(() => Item, 'parentId'),
      children: hasMany(() => Item, 'parentId'),
      near: {
        relation: Model.ManyToManyRelation,
        modelClass: () => Item,
        join: { from: 'agree_item.id', through: { from: 'agree_near.item_id', to: 'agree_near.near_id' }, to: 'agree_item.id' },
      },
      tags: {
        relation: Model.ManyToManyRelation,
        modelClass: Tag,
        join: { from: 'agree_item.id', through: { from: 'agree_item_tag.item_id', to: 'agree_item_tag.tag_id' }, to: 'agree_tag.id' },
      },
    }
  }

  /** Rows in which a value of each kind, and NULL, turns up. */
  function rowsOf(kind: number, count: number, more: Record<string, fc.Arbitrary<unknown>>): Row[] {
    const oneOf = (values: readonly unknown[]) => fc.option(fc.constantFrom(...values), { freq: 6 })
    const shape = { ...Object.fromEntries(columnNames.map((name) => [name, oneOf(kinds[name].values)])), ownerId: oneOf(userIds), ...more }
    return fc
      .sample(fc.record(shape), { numRuns: count, seed: seed + kind })
      .map((row, i) => ({ ...row, id: numbered(kind, i) }))
      .sort((a, b) => byText(a.id, b.id))
  }
  const idsOf = (rows: readonly Row[]) => fc.option(fc.constantFrom(...rows.map((row) => row.id)), { freq: 4 })

  const tags = rowsOf(3, 6, {})
  const groups = rowsOf(4, 6, {})
  const items = rowsOf(5, 40, {
    editorId: fc.option(fc.constantFrom(...userIds)),
    groupId: idsOf(groups),
    // Trees and cycles: any row is the parent of any other, or of itself.
    parentId: fc.option(fc.constantFrom(...Array.from({ length: 40 }, (_, i) => numbered(5, i))), { freq: 6 }),
    domainId: fc.option(fc.constantFrom(...domainIds)),
  })
  const parts = rowsOf(6, 30, { itemId: idsOf(items), tagId: idsOf(tags) })
  const links = fc
    .sample(fc.uniqueArray(fc.tuple(fc.nat(19), fc.nat(tags.length - 1)), { minLength: 25, maxLength: 30, selector: String }), {
      numRuns: 1,
      seed,
    })
    .flat()
    .map(([item, tag]) => ({ item: items[item] as Row, tag: tags[tag] as Row }))

  const nears = fc
    .sample(fc.uniqueArray(fc.tuple(fc.nat(39), fc.nat(39)), { minLength: 30, maxLength: 30, selector: String }), { numRuns: 1, seed })
    .flat()
    .map(([item, near]) => ({ item: items[item] as Row, near: items[near] as Row }))

  async function fill(): Promise<void> {
    for (const [i, id] of domainIds.entries()) await Place.query().insert({ id, name: domainNames[i] } as never)
    const lists: [typeof Model, readonly Row[]][] = [
      [Tag as never, tags],
      [Group as never, groups],
      [Item as never, items],
      [Part as never, parts],
    ]
    for (const [cls, rows] of lists)
      await cls.transaction(async (trx) => {
        for (const row of rows) await cls.query(trx).insert(row as never)
      })
    await Item.knex()('agree_item_tag').insert(links.map(({ item, tag }) => ({ item_id: item.id, tag_id: tag.id })))
    await Item.knex()('agree_near').insert(nears.map(({ item, near }) => ({ item_id: item.id, near_id: near.id })))
  }

  const models = { Account, Place, Tag, Group, Part, Item }
  return { ids, numbered, userIds, domainIds, domainNames, ...models, tags, groups, items, parts, links, nears, fill }
}
