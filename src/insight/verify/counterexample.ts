/** Writes a counterexample as a sentence, and as a test that fails. */
import type { Model } from 'objection'
import { ruleOf } from '../../policy/policy.js'
import { registeredModel } from '../../policy/registered-models.js'
import { tableOf } from '../../schema/class-statics.js'
import type { ColumnSpec } from '../../schema/column.js'
import { structureOf } from '../../schema/definition/definition.js'
import { modelClass } from '../../schema/model-class.js'
import { ruleWords } from '../leaves.js'
import type { Inserted } from './database.js'
import type { Leak } from './search.js'
import type { Counterexample } from './verify.js'

/** Returns the counterexample for a leak. */
export function counterexampleTest(leak: Leak, modelsFrom: string): Counterexample {
  const { tenancy, action } = leak
  const model = modelClass(tenancy.cls).name
  const description = describe(leak)
  return { model, action, description, test: testFor(leak, modelsFrom, description) }
}

function describe({ tenancy, action, attacker, rows }: Leak): string {
  const { cls, policy, column, isOwner } = tenancy
  const held = attacker.grants.map(({ role, tenant }) =>
    tenant === null ? `${role} everywhere` : `${role} in tenant ${tenant.toUpperCase()}`,
  )
  const who = held.length === 0 ? (isOwner ? 'A user' : 'A caller of tenant A') : `A caller who is ${held.join(' and ')}`
  const what = isOwner ? `a ${cls.name} of another user` : `a ${cls.name} of tenant B (${column})`
  const rule = ruleWords(ruleOf(policy, action === 'move' ? 'update' : action))
  const act = action === 'move' ? `can move a ${cls.name} to tenant B` : `can ${action} ${what}`
  const related = rows.length > 1 ? `, with ${rows.length - 1} related rows` : ''
  return `${who} ${act}${related}: ${rule}.`
}

function testFor({ tenancy, action, attacker, people, rows }: Leak, modelsFrom: string, description: string): string {
  const { cls, column } = tenancy
  const User = registeredModel('user')
  const Domain = registeredModel('domain')
  const classes = [...new Set([cls, ...rows.map((row) => row.cls)])].filter(
    (one) => tableOf(one) !== tableOf(User) && modelClass(one).name !== '',
  )
  const own = [User, Domain].filter((one) => !['User', 'Domain'].includes(modelClass(one).name))
  const names = [...new Set([...classes, ...own].map((one) => modelClass(one).name))]
  const [first] = rows
  const id = first?.values['id']
  const users = [people.me, people.mate, people.other].map((one, i) =>
    insertOf({ cls: User, values: { id: one, email: `user${i}@example.com` } }),
  )
  const domains = tenancy.isOwner
    ? []
    : [people.a, people.b].map((one, i) => insertOf({ cls: Domain, values: { id: one, name: `tenant-${'ab'[i]}` } }))
  const grants = attacker.grants.map(({ role, tenant }) => {
    const place = tenant === null ? '' : `, domainId: ${text(people[tenant])}`
    return `await UserRole.create({ userId: ${text(people.me)}, role: ${text(role)}${place} })`
  })
  const inserts = (action === 'create' ? rows.slice(1) : rows).toReversed().map(insertOf)
  const list = classes.map((one) => modelClass(one).name).join(', ')
  const options = own.map((one) => `, ${one === User ? 'user' : 'domain'}: ${modelClass(one).name}`).join('')
  return `// ${description.replace(/\s+/g, ' ')}
import assert from 'node:assert/strict'
import Knex from 'knex'
import { asSystem, createTables, Domain, initPerms, runAs, User, UserRole } from 'objection-perms'
import { ${names.join(', ')} } from ${text(modelsFrom)}

const knex = Knex({ client: 'sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
const perms = initPerms({ knex, models: [${list}]${options} })
await perms.migrate()
await createTables(knex, [${list}])
// The rows may name rows that do not matter here.
await knex.raw('pragma foreign_keys = off')

await asSystem(async () => {
${[...users, ...domains, ...grants, ...inserts].map((line) => `  ${line}`).join('\n')}
})
const caller = await asSystem(() => ${modelClass(User).name}.get(${text(people.me)}))
try {
${assertionFor(cls, action, id, { column, tenant: people.b, values: first?.values ?? {} }, description)}
} finally {
  await perms.close()
  await knex.destroy()
}
`
}

function assertionFor(
  cls: typeof Model,
  action: string,
  id: unknown,
  { column, tenant, values }: { column: string; tenant: unknown; values: Readonly<Record<string, unknown>> },
  description: string,
): string {
  const { name } = modelClass(cls)
  const why = text(description)
  if (action === 'create') return `  assert.equal(await ${name}.canCreate(${objectText(withRequired(cls, values))}, caller), false, ${why})`
  if (action === 'move')
    return `  const moved = await runAs(caller, () => ${name}.query().patch({ ${column}: ${text(tenant)} }).where({ id: ${text(id)} })).catch(() => 0)
  assert.equal(moved, 0, ${why})`
  return `  const row = await asSystem(() => ${name}.query().findById(${text(id)}))
  assert.equal(await row.can(${text(action)}, caller), false, ${why})`
}

function insertOf({ cls, values }: Inserted): string {
  return `await ${modelClass(cls).name}.query().insert(${objectText(withRequired(cls, values))})`
}

/** Adds a value for each column that needs one. */
function withRequired(cls: typeof Model, values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { specs } = structureOf(cls)
  const missing = Object.entries(specs).filter(([name, spec]) => values[name] === undefined && !spec.isNullable && !spec.hasDefault)
  return { ...Object.fromEntries(missing.map(([name, spec]) => [name, sampleOf(spec)])), ...values }
}

function sampleOf({ type, values = [], minLength = 1 }: ColumnSpec): unknown {
  switch (type) {
    case 'integer':
    case 'float':
      return 1
    case 'bigint':
    case 'decimal':
      return '1'
    case 'boolean':
      return false
    case 'enum':
      return values[0]
    case 'json':
      return {}
    case 'uuid':
      return '00000000-0000-7000-8000-000000000099'
    case 'date':
      return '2024-01-01'
    case 'datetime':
      return new Date(0)
    default:
      return 'x'.repeat(Math.max(1, minLength))
  }
}

const objectText = (values: Readonly<Record<string, unknown>>): string =>
  `{ ${Object.entries(values)
    .map(([name, value]) => `${/^[a-z_$][\w$]*$/i.test(name) ? name : text(name)}: ${text(value)}`)
    .join(', ')} }`

// Text of rules stands in the test as a string, never as code.
function text(value: unknown): string {
  if (value instanceof Date) return `new Date(${value.getTime()})`
  if (typeof value !== 'string') return JSON.stringify(value ?? null)
  return `'${JSON.stringify(value).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`
}
