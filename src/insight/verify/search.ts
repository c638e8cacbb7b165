/** Searches for a caller and rows for which an action crosses tenants. */
import type { Model } from 'objection'
import { rulesOf } from '../../policy/abilities.js'
import { compile } from '../../policy/compiler/compile.js'
import { all, any, type Condition } from '../../policy/compiler/condition.js'
import { type Scope, scopeOf } from '../../policy/compiler/scope.js'
import type { Actor } from '../../policy/context.js'
import { effective } from '../../policy/effective.js'
import type { Resolved } from '../../policy/policy.js'
import { registeredModel } from '../../policy/registered-models.js'
import type { Rule } from '../../policy/rules.js'
import { userTables } from '../../policy/user-tables.js'
import { isBelongsToOne, relationsOf } from '../../query/objection-internals.js'
import { tableOf } from '../../schema/class-statics.js'
import { structureOf } from '../../schema/definition/definition.js'
import { resolveTable } from '../../schema/definition/table-names.js'
import { type Inserted, openSearch, SearchDatabase } from './database.js'
import { type Attacker, attackersOf, idFor, type People, type Tenancy } from './tenants.js'
import { NotCovered, type Tree, type TreeWorld, treesFor } from './trees.js'

/** A caller and rows for which the property does not hold. */
export interface Leak {
  readonly tenancy: Tenancy
  readonly action: string
  readonly attacker: Attacker
  readonly people: People
  /** The row and its related rows. For 'move', the row before the update. */
  readonly rows: readonly Inserted[]
}

export interface Search {
  readonly policies: ReadonlyMap<typeof Model, Resolved>
  readonly tenancies: readonly Tenancy[]
  readonly tenancy: Tenancy
  readonly action: string
  readonly deadline: number
}

const REF = 'perms_row'

/** Returns the first leak of an action, and for updates the first move as well. @throws NotCovered */
export async function searchAction(search: Search): Promise<readonly Leak[]> {
  const { tenancy, action } = search
  const { cls, policy, column } = tenancy
  const people = peopleOf(tenancy)
  const world = worldOf(search, people)
  const rules: Rule[] = [policy.read, ...rulesOf(action, policy), ...policy.globalScopes.map(({ rule }) => rule)]
  const trees = treesFor(cls, rules, world, column)
  const knex = await openSearch()
  try {
    const database = new SearchDatabase(knex)
    addPeople(database, people, search)
    const placed = trees.map((tree) => ({
      inB: database.add(inTenant(tree, column, people.b)),
      inA: database.add(inTenant(tree, column, people.a)),
    }))
    await database.write([...search.policies.keys()])
    const attackers = attackersOf(search.policies, people, tenancy.isOwner)
    const leaks: Leak[] = []
    for (const attacker of attackers) {
      if (Date.now() >= search.deadline) throw new NotCovered('the time was over during this action: pass a longer timeout')
      const found = await leakOf(database, search, people, attacker, placed)
      for (const leak of found) if (!leaks.some((one) => one.action === leak.action)) leaks.push(leak)
      if (leaks.length === (action === 'update' ? 2 : 1)) break
    }
    return leaks
  } finally {
    await knex.destroy()
  }
}

const inTenant = (tree: Tree, column: string, tenant: unknown): Tree => ({ ...tree, values: { ...tree.values, [column]: tenant } })

interface Placed {
  readonly inA: readonly Inserted[]
  readonly inB: readonly Inserted[]
}

async function leakOf(
  database: SearchDatabase,
  { tenancy, action }: Search,
  people: People,
  attacker: Attacker,
  placed: readonly Placed[],
): Promise<Leak[]> {
  const { cls } = tenancy
  const idsFor = async (actor: Actor, phase?: 'after') => {
    const scope = scopeFor(cls, actor, action !== 'read')
    return await database.idsWhere(cls, REF, effective(action, scope, { withDeleted: false }, phase ?? 'before'))
  }
  const idOf = (rows: readonly Inserted[]) => String(rows[0]?.values['id'])
  const may = await idsFor(attacker.actor)
  const entitled = attacker.entitled ? await idsFor(attacker.entitled) : new Set()
  const base = { tenancy, attacker, people }
  const isCreatable = ({ inB }: Placed) =>
    action !== 'create' ||
    (isOwnRow(tenancy, inB, people) && inB.slice(1).every(({ values }) => !Object.values(values).includes(inB[0]?.values['id'])))
  const relevant = attacker.entitled ? placed.filter(({ inB }) => !namesTenant(inB, people.a)) : placed
  const hit = relevant.find((one) => may.has(idOf(one.inB)) && !entitled.has(idOf(one.inB)) && isCreatable(one))
  const canRefer = action === 'update' || action === 'create' ? await mayRefer(database, tenancy, attacker, people) : true
  const leaks: Leak[] = hit && (action !== 'create' || canRefer) ? [{ ...base, action, rows: hit.inB }] : []
  if (action !== 'update' || !canRefer || tenancy.isOwner) return leaks
  const after = await idsFor(attacker.actor, 'after')
  const allowedAfter = attacker.entitled ? await idsFor(attacker.entitled, 'after') : new Set()
  const moved = relevant.find((one) => may.has(idOf(one.inA)) && after.has(idOf(one.inB)) && !allowedAfter.has(idOf(one.inB)))
  return moved ? [...leaks, { ...base, action: 'move', rows: moved.inA }] : leaks
}

// For a member of both tenants, a row of one that refers to the other may depend on the rights in both.
const namesTenant = (rows: readonly Inserted[], tenant: unknown): boolean =>
  rows.slice(1).some(({ values }) => Object.values(values).includes(tenant))

// A new row belongs to its creator, unless a rule lets the caller create rows for others.
function isOwnRow({ policy, isOwner }: Tenancy, rows: readonly Inserted[], { me }: People): boolean {
  if (policy.ownerField === undefined || policy.createForOthers) return true
  const owner = rows[0]?.values[policy.ownerField] ?? null
  return owner === me || (owner === null && !isOwner)
}

const scopeFor = (cls: typeof Model, actor: Actor, writes: boolean): Scope => scopeOf(cls, actor, { dialect: 'sqlite', ref: REF, writes })

/** Returns whether the caller may write the other tenant into the column: by its rule, and as a reference to a row that must be readable. */
async function mayRefer(database: SearchDatabase, { cls, column }: Tenancy, { actor }: Attacker, { b }: People): Promise<boolean> {
  const spec = structureOf(cls).specs[column]
  if (spec?.writable && compile(spec.writable as Rule, scopeFor(cls, actor, true)) === false) return false
  const target = targetOf(cls, column)
  if (!target || !('policy' in target)) return true
  const readable: Condition = all(any(effective('read', scopeFor(target, actor, false), { withDeleted: false })))
  return (await database.idsWhere(target, REF, readable)).has(String(b))
}

/** Returns the class to whose rows a column refers. */
function targetOf(cls: typeof Model, column: string): typeof Model | undefined {
  const relation = Object.values(relationsOf(cls)).find((one) => one && isBelongsToOne(one) && one.ownerProp.props[0] === column)
  if (relation) return relation.relatedModelClass
  const { reference } = structureOf(cls).specs[column] ?? {}
  return [registeredModel('domain'), registeredModel('user')].find((one) => reference && resolveTable(reference.table) === tableOf(one))
}

function peopleOf(tenancy: Tenancy): People {
  const User = registeredModel('user')
  const [me, mate, other] = [1, 2, 3].map((n) => idFor(User, n))
  if (tenancy.isOwner) return { a: me, b: other, me, mate, other }
  const target = targetOf(tenancy.cls, tenancy.column) ?? registeredModel('domain')
  return { a: idFor(target, 11), b: idFor(target, 12), me, mate, other }
}

function worldOf({ tenancies, tenancy }: Search, people: People): TreeWorld {
  const target = targetOf(tenancy.cls, tenancy.column)
  const tables = userTables()
  return {
    people,
    fixed: new Map<string, readonly unknown[]>([
      [tables.user.table, [people.me, people.mate, people.other]],
      ...[tables.domain.table, ...(target && !tenancy.isOwner ? [tableOf(target)] : [])].map((table): [string, readonly unknown[]] => [
        table,
        tenancy.isOwner ? [] : [people.a, people.b],
      ]),
    ]),
    tenantColumns: new Map(tenancies.map(({ cls, column }) => [cls, column])),
  }
}

function addPeople(database: SearchDatabase, { a, b, me, mate, other }: People, { tenancies, tenancy }: Search): void {
  const [User, UserRole, Domain] = [registeredModel('user'), registeredModel('userRole'), registeredModel('domain')]
  const own = tenancies.find(({ cls }) => tableOf(cls) === tableOf(User))?.column
  for (const [id, tenant] of [
    [me, a],
    [mate, a],
    [other, b],
  ])
    database.addRaw(User, { id, isEnabled: true, ...(own === undefined ? {} : { [own]: tenant }) })
  if (tenancy.isOwner) return
  const target = targetOf(tenancy.cls, tenancy.column) ?? Domain
  for (const cls of new Set([Domain, target])) for (const id of [a, b]) database.addRaw(cls, { id, active: true })
  for (const [i, [userId, domainId]] of [
    [me, a],
    [mate, a],
    [other, b],
  ].entries())
    database.addRaw(UserRole, { id: idFor(UserRole, i + 1), userId, domainId, role: 'member' })
}
