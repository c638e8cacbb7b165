import { expect } from 'chai'
import fc from 'fast-check'
import { Model } from 'objection'
import {
  ability,
  allOf,
  anyOf,
  asSystem,
  authenticated,
  BasePermsModel,
  belongsTo,
  column,
  createTables,
  Domain,
  everyone,
  HasDomainMixin,
  hasMany,
  initPerms,
  nobody,
  not,
  owner,
  type Perms,
  related,
  role,
  type SqlRule,
  Token,
  User,
  UserRole,
  UserSetting,
  where,
} from '../../src/index.js'
import { compile, scopeOf } from '../../src/perms/compile.js'
import { holds } from '../../src/perms/condition.js'
import { type Actor, runAsActor } from '../../src/perms/context.js'
import { countQueries, eachDatabase } from '../helpers/databases.js'

const numRuns = Number(process.env['AGREEMENT_RUNS'] ?? 100)
const seed = Number(process.env['AGREEMENT_SEED'] ?? 20_240_530)

// -- the world -----------------------------------------------------------------------------------------------------

const numbered = (kind: number, n: number) => `${String(kind).repeat(8)}-abcd-4abc-8abc-${String(n).padStart(12, '0')}`
const userIds = [1, 2, 3].map((n) => numbered(1, n))
const domainIds = [1, 2].map((n) => numbered(2, n))
const domainNames = ['press', 'Press house']
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
const likes = [
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

interface Kind {
  readonly spec: unknown
  /** As rows hold it. */
  readonly values: readonly unknown[]
  /** Other ways to write one of them in a policy. */
  readonly spellings?: readonly unknown[]
  readonly hasLike?: boolean
  /** More digits than SQLite orders by: see sqlValue() in src/model/storage.ts. */
  readonly isLong?: boolean
  /** Something to compare with <. */
  readonly rank: (value: never) => number | bigint | string
}

const codePoints = (text: string) => [...text].map((c) => (c.codePointAt(0) as number).toString(16).padStart(6, '0')).join(' ')

const kinds = {
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
type ColumnName = keyof typeof kinds
const kindOf = (name: string): Kind => kinds[name as ColumnName]
const columnNames = Object.keys(kinds) as ColumnName[]

const nullable = Object.fromEntries(columnNames.map((name) => [name, (kinds[name].spec as ReturnType<typeof column.string>).nullable()]))

class Tag extends BasePermsModel.withColumns({ ...nullable, ownerId: column.uuid().nullable() }) {
  static override tableName = 'agree_tag'
  static userField = 'ownerId'
}
class Group extends BasePermsModel.withColumns({ ...nullable, ownerId: column.uuid().nullable() }) {
  static override tableName = 'agree_group'
  static userField = 'ownerId'
}
class Part extends BasePermsModel.withColumns({
  ...nullable,
  ownerId: column.uuid().nullable(),
  itemId: column.uuid().nullable(),
  tagId: column.uuid().nullable(),
}) {
  static override tableName = 'agree_part'
  static userField = 'ownerId'
  static override relationMappings = { tag: belongsTo(() => Tag, 'tagId') }
}
class Item extends HasDomainMixin(BasePermsModel).withColumns({
  ...nullable,
  ownerId: column.uuid().nullable(),
  editorId: column.uuid().nullable(),
  groupId: column.uuid().nullable(),
}) {
  static override tableName = 'agree_item'
  static userField = 'ownerId'
  // Only the rules count here: no guard, no way past them.
  static override unguarded = ['domain']
  static override adminBypass = false
  static override relationMappings = {
    group: belongsTo(() => Group, 'groupId'),
    parts: hasMany(() => Part, 'itemId'),
    tags: {
      relation: Model.ManyToManyRelation,
      modelClass: Tag,
      join: { from: 'agree_item.id', through: { from: 'agree_item_tag.item_id', to: 'agree_item_tag.tag_id' }, to: 'agree_tag.id' },
    },
  }
}

type Row = Readonly<Record<string, unknown>> & { readonly id: string }

/** Rows in which a value of each kind, and NULL, turns up. */
function rowsOf(kind: number, count: number, more: Record<string, fc.Arbitrary<unknown>>): Row[] {
  const oneOf = (values: readonly unknown[]) => fc.option(fc.constantFrom(...values), { freq: 6 })
  const shape = { ...Object.fromEntries(columnNames.map((name) => [name, oneOf(kinds[name].values)])), ownerId: oneOf(userIds), ...more }
  return fc.sample(fc.record(shape), { numRuns: count, seed: seed + kind }).map((row, i) => ({ ...row, id: numbered(kind, i) }))
}
const idsOf = (rows: readonly Row[]) => fc.option(fc.constantFrom(...rows.map((row) => row.id)), { freq: 4 })

const tags = rowsOf(3, 6, {})
const groups = rowsOf(4, 6, {})
const items = rowsOf(5, 40, {
  editorId: fc.option(fc.constantFrom(...userIds)),
  groupId: idsOf(groups),
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

async function fill(): Promise<void> {
  for (const [i, id] of domainIds.entries()) await Domain.query().insert({ id, name: domainNames[i] } as never)
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
}

// -- what is asked: a description, a rule, and what it means ---------------------------------------------------------

type Asked = Readonly<Record<string, unknown>> | readonly unknown[] | string | number | bigint | boolean | Date | null
type Described =
  | { is: 'everyone' | 'nobody' | 'authenticated' }
  | { is: 'ability'; name: string }
  | { is: 'owner'; field: string | undefined }
  | { is: 'role'; roles: string[]; domain: string | undefined }
  | { is: 'where'; conditions: Record<string, Asked> }
  | { is: 'related'; relation: string; rule: Described }
  | { is: 'anyOf' | 'allOf'; rules: Described[] }
  | { is: 'not'; rule: Described }

function ruleOf(given: Described): SqlRule {
  switch (given.is) {
    case 'everyone':
      return everyone()
    case 'nobody':
      return nobody()
    case 'authenticated':
      return authenticated()
    case 'ability':
      return ability(given.name)
    case 'owner':
      return owner(given.field)
    case 'role':
      return role(given.roles, given.domain === undefined ? {} : { domain: given.domain })
    case 'where':
      return where(given.conditions as never)
    case 'related':
      return related(given.relation, ruleOf(given.rule))
    case 'anyOf':
      return anyOf(...given.rules.map(ruleOf))
    case 'allOf':
      return allOf(...given.rules.map(ruleOf))
    case 'not':
      return not(ruleOf(given.rule))
  }
}

/** The meaning of a rule, written from the contract alone. */
function means(given: Described, row: Row, actor: Actor | null): boolean {
  switch (given.is) {
    case 'everyone':
      return true
    case 'nobody':
      return false
    case 'authenticated':
      return actor !== null
    case 'ability':
      return actor !== null && (!actor.abilities || actor.abilities.includes(given.name))
    case 'owner':
      return actor !== null && row[given.field ?? 'ownerId'] === actor.id
    case 'role':
      return (actor?.grants ?? []).some((grant) => {
        const is = given.roles.includes(grant.role) || (grant.role === 'superadmin' && given.roles.includes('admin'))
        if (!is || grant.domainId === null) return is
        if (given.domain === undefined) return row['domainId'] === grant.domainId
        return given.domain === 'any' || given.domain === grant.domainName || given.domain.toLowerCase() === grant.domainId
      })
    case 'where':
      return Object.entries(given.conditions).every(([name, asked]) => matches(kindOf(name), row[name], asked))
    case 'related':
      return relatedTo(row, given.relation).some((one) => means(given.rule, one, actor))
    case 'anyOf':
      return given.rules.some((rule) => means(rule, row, actor))
    case 'allOf':
      return given.rules.every((rule) => means(rule, row, actor))
    case 'not':
      return !means(given.rule, row, actor)
  }
}

function relatedTo(row: Row, relation: string): Row[] {
  if (relation === 'group') return groups.filter((group) => group.id === row['groupId'])
  if (relation === 'tag') return tags.filter((tag) => tag.id === row['tagId'])
  if (relation === 'parts') return parts.filter((part) => part['itemId'] === row.id)
  return links.filter((link) => link.item.id === row.id).map((link) => link.tag)
}

function matches(kind: Kind, held: unknown, asked: Asked): boolean {
  if (asked === null) return held === null
  if (Array.isArray(asked)) return compares(kind, held, 'in', asked)
  if (typeof asked !== 'object' || asked instanceof Date) return compares(kind, held, 'eq', asked)
  return Object.entries(asked).every(([operator, value]) => compares(kind, held, operator, value))
}

function compares(kind: Kind, held: unknown, operator: string, asked: unknown): boolean {
  if (operator === 'null') return (held === null) === asked
  if (asked === null) return operator === 'eq' ? held === null : held !== null
  if (held === null) return false
  const list = () => (asked as readonly unknown[]).some((one) => compares(kind, held, 'eq', one))
  if (operator === 'in') return list()
  if (operator === 'notIn') return !list()
  if (operator === 'like') return isAlike([...(held as string)], [...(asked as string)])
  const [a, b] = [kind.rank(held as never), kind.rank(asked as never)]
  return { eq: a === b, ne: a !== b, gt: a > b, gte: a >= b, lt: a < b, lte: a <= b }[operator] as boolean
}

function isAlike(text: readonly string[], [first, ...more]: readonly string[]): boolean {
  if (first === undefined) return text.length === 0
  if (first === '%') return isAlike(text, more) || (text.length > 0 && isAlike(text.slice(1), [first, ...more]))
  if (first === '_') return text.length > 0 && isAlike(text.slice(1), more)
  if (first === '\\' && more.length > 0) return text[0] === more[0] && isAlike(text.slice(1), more.slice(1))
  return text[0] === first && isAlike(text.slice(1), more)
}

// -- at random -----------------------------------------------------------------------------------------------------

const orders = ['gt', 'gte', 'lt', 'lte']

function askedOf(name: ColumnName): fc.Arbitrary<Asked> {
  const kind = kindOf(name)
  const value = fc.constantFrom(...kind.values, ...(kind.spellings ?? [])) as fc.Arbitrary<string>
  const list = fc.array(value, { maxLength: 3 })
  const operators: fc.Arbitrary<Record<string, unknown>>[] = [
    ...['eq', 'ne'].map((operator) => fc.option(value, { freq: 5 }).map((one) => ({ [operator]: one }))),
    ...(kind.isLong ? [] : orders).map((operator) => value.map((one) => ({ [operator]: one }))),
    ...['in', 'notIn'].map((operator) => list.map((some) => ({ [operator]: some }))),
    fc.boolean().map((isNull) => ({ null: isNull })),
    ...(kind.hasLike ? Array(3).fill(fc.constantFrom(...likes).map((pattern) => ({ like: pattern }))) : []),
  ]
  const one = fc.oneof(...operators)
  return fc.oneof(
    { weight: 6, arbitrary: one },
    { weight: 2, arbitrary: fc.tuple(one, one).map(([a, b]) => ({ ...a, ...b })) },
    { weight: 2, arbitrary: value },
    { weight: 1, arbitrary: list },
    { weight: 1, arbitrary: fc.constantFrom(null, {}) },
  )
}

const wheres: fc.Arbitrary<Described> = fc
  .array(
    fc.constantFrom(...columnNames).chain((name) => askedOf(name).map((asked) => [name, asked] as const)),
    { minLength: 0, maxLength: 2, size: 'max' },
  )
  .map((entries) => ({ is: 'where', conditions: Object.fromEntries(entries) }))

const roleNames = ['editor', 'author', 'admin', 'superadmin']
const roles: fc.Arbitrary<Described> = fc.record({
  is: fc.constant('role' as const),
  roles: fc.uniqueArray(fc.constantFrom(...roleNames), { minLength: 1, maxLength: 2 }),
  domain: fc.constantFrom(undefined, undefined, 'any', 'nowhere', ...domainNames, ...domainIds, ...domainIds.map((id) => id.toUpperCase())),
})

const constants: fc.Arbitrary<Described> = fc.oneof(
  fc.constantFrom('everyone', 'nobody', 'authenticated').map((is) => ({ is }) as Described),
  fc.constantFrom('read', 'write').map((name) => ({ is: 'ability', name }) as const),
)

/** Rules for a model with these columns for owners and these relations, nested this deep. */
function rules(
  depth: number,
  owners: readonly (string | undefined)[],
  relations: Record<string, fc.Arbitrary<Described>>,
): fc.Arbitrary<Described> {
  const leaves = [
    { weight: 1, arbitrary: constants },
    { weight: 2, arbitrary: fc.constantFrom(...owners).map((field): Described => ({ is: 'owner', field })) },
    { weight: 2, arbitrary: roles },
    { weight: 6, arbitrary: wheres },
    ...Object.entries(relations).map(([relation, theirs]) => ({
      weight: 1,
      arbitrary: theirs.map((rule): Described => ({ is: 'related', relation, rule })),
    })),
  ]
  if (depth === 0) return fc.oneof(...leaves)
  const inner = rules(depth - 1, owners, relations)
  const many = fc.tuple(fc.constantFrom('anyOf' as const, 'allOf' as const), fc.array(inner, { maxLength: 3, size: 'max' }))
  return fc.oneof(
    ...leaves,
    { weight: 7, arbitrary: many.map(([is, given]): Described => ({ is, rules: given })) },
    { weight: 5, arbitrary: inner.map((rule): Described => ({ is: 'not', rule })) },
  )
}

const ofTags = rules(1, [undefined], {})
const policies = rules(3, [undefined, 'editorId', 'key'], {
  group: ofTags,
  parts: rules(1, [undefined, 'itemId'], { tag: ofTags }),
  tags: ofTags,
})

const grants = fc.array(
  fc.tuple(fc.constantFrom(...roleNames), fc.constantFrom(null, 0, 1)).map(([name, i]) => ({
    id: numbered(7, 0),
    role: name,
    domainId: i === null ? null : (domainIds[i] as string),
    domainName: i === null ? null : (domainNames[i] as string),
  })),
  { maxLength: 3 },
)
const actors: fc.Arbitrary<Actor | null> = fc.option(
  fc.record({
    id: fc.constantFrom(...userIds),
    user: fc.constant({}),
    grants: fc.oneof(fc.constant([]), grants),
    sessionId: fc.constant(null),
    abilities: fc.constantFrom(null, null, null, [], ['read']),
  }),
  { freq: 6 },
)

// -- the test ------------------------------------------------------------------------------------------------------

/** A class of its own for each policy, since what a class says is read once. */
function under(rule: SqlRule): typeof Item {
  return class extends Item {
    static override tableName = 'agree_item'
    static override policy = { read: rule }
  }
}

const plain: Actor = { id: userIds[0] as string, user: {}, grants: [], sessionId: null, abilities: null }

eachDatabase('What a policy says in SQL and in memory', (db) => {
  let perms: Perms
  /** The rows as the application gets them. */
  let loaded: Row[]

  before(async function () {
    this.timeout(30_000)
    perms = initPerms({ knex: db.knex, models: [Item, Part, Group, Tag], outsideContext: 'deny' })
    await createTables(db.knex, [User, UserRole, Domain, Token, UserSetting, Tag, Group, Item, Part])
    await db.knex.schema.createTable('agree_item_tag', (table) => {
      table.uuid('item_id').notNullable()
      table.uuid('tag_id').notNullable()
    })
    await asSystem(fill)
    loaded = (await asSystem(() => Item.query().orderBy('id'))) as unknown as Row[]
  })
  after(() => perms.close())

  async function bySql(rule: SqlRule, actor: Actor | null): Promise<string[]> {
    const cls = under(rule)
    const rows = await runAsActor(actor, () => cls.query().select('id'))
    return rows.map((row) => row.id as string).sort()
  }

  async function inMemory(rule: SqlRule, actor: Actor | null): Promise<string[]> {
    const cls = under(rule) as unknown as typeof Model
    const found: string[] = []
    for (const row of loaded) {
      if (await holds(db.knex, compile(rule, scopeOf(cls, actor, { dialect: db.dialect, ref: 'none', row })))) found.push(row.id)
    }
    return found
  }

  async function expectAgreement(described: Described, actor: Actor | null): Promise<void> {
    const rule = ruleOf(described)
    const meant = items.filter((row) => means(described, row, actor)).map((row) => row.id)
    expect(await bySql(rule, actor), 'in SQL').to.deep.equal(meant)
    expect(await inMemory(rule, actor), 'in memory').to.deep.equal(meant)
  }

  it(`[promise 30] agrees on ${numRuns} random policies and actors over ${items.length} rows (seed ${seed})`, async function () {
    this.timeout(20_000 + numRuns * 400)
    await fc.assert(fc.asyncProperty(policies, actors, expectAgreement), { numRuns, seed })
  })

  for (const name of columnNames) {
    const kind = kindOf(name)
    it(`[promise 30] agrees on every comparison of the column ${name} with every value of the table`, async function () {
      this.timeout(60_000)
      const operators = ['eq', 'ne', ...(kind.isLong && db.dialect === 'sqlite' ? [] : orders)]
      const values = [...kind.values, ...(kind.spellings ?? [])]
      const asked = [
        ...operators.flatMap((operator) => values.map((value) => ({ [operator]: value }))),
        ...(kind.hasLike ? likes.map((pattern) => ({ like: pattern })) : []),
      ]
      for (const comparison of asked) {
        const described: Described = { is: 'where', conditions: { [name]: comparison } }
        const meant = items.filter((row) => means(described, row, null)).map((row) => row.id)
        const cls = under(everyone()) as unknown as typeof Model
        const scope = scopeOf(cls, null, { dialect: db.dialect, ref: 'agree_item' })
        const text = `${name} ${Object.keys(comparison)} ${JSON.stringify(String(Object.values(comparison)))}`
        expect(await bySql(ruleOf(described), null), `${text} in SQL`).to.deep.equal(meant)
        const held = loaded.filter((row) => compile(ruleOf(described), { ...scope, row }) === true)
        expect(
          held.map((row) => row.id),
          `${text} in memory`,
        ).to.deep.equal(meant)
      }
    })
  }

  const everything = items.map((item) => item.id)
  const inGroup = (rule: SqlRule) => related('group', rule)
  const grouped = items.filter((item) => item['groupId'] !== null).map((item) => item.id)
  const nameless = items.filter((item) => item['name'] === null).map((item) => item.id)
  const named = items.filter((item) => item['name'] !== null).map((item) => item.id)
  const notA = items.filter((item) => item['name'] !== 'a').map((item) => item.id)

  const cases: [string, SqlRule, string[]][] = [
    ['anyOf() of nothing is nobody', anyOf(), []],
    ['allOf() of nothing is everyone', allOf(), everything],
    ['not(anyOf()) is everyone', not(anyOf()), everything],
    ['not(allOf()) is nobody', not(allOf()), []],
    ['anyOf() of nothing stays nobody beside others', allOf(everyone(), anyOf()), []],
    ['where({}) is everyone', where({}), everything],
    ['in: [] is nobody', where({ name: { in: [] } }), []],
    ['an empty list is nobody', where({ name: [] }), []],
    ['not(in: []) is everyone, those with NULL too', not(where({ name: { in: [] } })), everything],
    ['notIn: [] is all that are not NULL', where({ name: { notIn: [] } }), named],
    ['notIn leaves NULL out', where({ name: { notIn: ['no such name'] } }), named],
    ['ne leaves NULL out', where({ name: { ne: 'no such name' } }), named],
    ['not() of a comparison with NULL is true', not(where({ name: 'a' })), notA],
    ['not(not()) of a comparison with NULL is false', not(not(where({ name: { ne: 'no such name' } }))), named],
    ['null is NULL', where({ name: null }), nameless],
    ['related() with nobody is nobody', inGroup(anyOf()), []],
    ['related() with everyone is all that have one', inGroup(allOf()), grouped],
    ['not(related()) holds for rows without any', not(inGroup(allOf())), everything.filter((id) => !grouped.includes(id))],
  ]
  for (const [title, rule, ids] of cases) {
    it(`[promise 30] ${title}`, async () => {
      for (const actor of [null, plain]) {
        expect(await bySql(rule, actor), 'in SQL').to.deep.equal(ids)
        expect(await inMemory(rule, actor), 'in memory').to.deep.equal(ids)
      }
    })
  }

  it('[promise 30] has a WHERE in every statement of a policy that lets nobody or some pass', async () => {
    const denials = [
      anyOf(),
      nobody(),
      authenticated(),
      owner(),
      role('admin'),
      where({ name: [] }),
      not(allOf()),
      where({ name: 'a' }),
      inGroup(nobody()),
    ]
    for (const rule of denials) {
      const cls = under(rule)
      const { statements } = await countQueries(db.knex, () => runAsActor(null, () => cls.query()))
      expect(statements).to.have.lengthOf(1)
      expect(statements[0]).to.match(/ where /i)
    }
  })

  it('[promise 30] has the rules of the superadmin alone where the bypass is off', async () => {
    const superadmin: Actor = { ...plain, grants: [{ id: 'g', role: 'superadmin', domainId: null, domainName: null }] }
    expect(await bySql(nobody(), superadmin)).to.deep.equal([])
    expect(await bySql(role('admin'), superadmin)).to.deep.equal(everything)
    expect(await bySql(role('editor'), superadmin)).to.deep.equal([])
  })
})
