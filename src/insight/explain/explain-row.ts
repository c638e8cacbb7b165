/** Explains the answer of a policy for one row. */
import type { Knex } from 'knex'
import type { Model } from 'objection'
import { ConfigurationError } from '../../core/errors.js'
import { actorOf, enabledActorOf, type UserLike } from '../../enforce/perms-mixin.js'
import { compile } from '../../policy/compiler/compile.js'
import { any, type Condition } from '../../policy/compiler/condition.js'
import type { Scope } from '../../policy/compiler/scope.js'
import { type Actor, asSystem } from '../../policy/context.js'
import { fieldBypass } from '../../policy/effective.js'
import { registeredModel } from '../../policy/registered-models.js'
import type { Rule } from '../../policy/rules.js'
import { words } from '../../policy/words.js'
import { assertHome } from '../../query/home.js'
import { tableOf } from '../../schema/class-statics.js'
import { definitionOf } from '../../schema/definition/definition.js'
import { idSpecOf } from '../../schema/ids.js'
import { classOf, valuesByName } from '../../schema/model-class.js'
import { classOfRow } from '../row-target.js'
import { truths } from './ask-many.js'
import { candidateChanges, surroundings } from './candidates.js'
import type { Change } from './changes.js'
import { type Counterfactual, counterfactualsOf, type Search } from './counterfactuals.js'
import type { Explanation, FieldExplanation, RowExplanation } from './explanation.js'
import { type State, type Subject, scopeOfState, type Values } from './state.js'
import { missingRow, treeOf } from './tree.js'

export type { RowExplanation } from './explanation.js'

/** Adds the answer for a row to the effect of a policy. */
export async function explainRow(
  effect: Explanation,
  subject: Subject,
  given: UserLike | Actor | null,
  row: Model,
): Promise<RowExplanation> {
  const { cls, action } = subject
  assertRowOf(subject, row)
  const knex = cls.knex()
  const name = nameOf(given)
  const question = `${name}: ${action} ${cls.name}${action === 'create' ? '' : ` ${[row.$id() as unknown].flat().join(', ')}`}`
  const values = action === 'create' ? valuesByName(row) : await stored(cls, row)
  if (!values) return { ...effect, question, allowed: false, tree: missingRow(action, cls.name), fields: [], counterfactuals: [] }
  const state: State = { actor: actorOf(given), row: values }
  const scope = await scopeOfState(subject, state)
  const shown = scope ?? ((await scopeOfState({ cls, action: 'read' }, state)) as Scope)
  const tree = await treeOf(knex, action, shown)
  const allowed = scope !== null && tree.truth
  const search: Search = { subject, state, others: { enabled: enabledOf(given, state.actor), stranger: stranger() } }
  const counterfactuals = await counterfactualsFor(knex, search, shown, { allowed, name })
  return { ...effect, question, allowed, tree, fields: await fieldsOf(knex, subject, shown), counterfactuals }
}

async function counterfactualsFor(
  knex: Knex,
  search: Search,
  scope: Scope,
  answer: { allowed: boolean; name: string },
): Promise<Counterfactual[]> {
  const { subject, state, others } = search
  // For callers who are not signed in, look for changes of the caller that they would then be.
  const known = state.actor === null ? { ...scope, actor: others.enabled ?? others.stranger } : scope
  const found = candidateChanges(subject, known, await surroundings(knex, known))
  const candidates: Change[] = state.actor === null ? [{ kind: others.enabled ? 'enable' : 'signIn' }, ...found] : found
  return await counterfactualsOf(knex, search, candidates, answer)
}

function assertRowOf({ cls, action }: Subject, row: Model): void {
  if (tableOf(classOf(row)) !== tableOf(cls))
    throw new ConfigurationError(`explain(${cls.name}, ...): the row is a ${classOf(row).name}. Pass a row of ${cls.name}.`)
  assertHome(row)
  if (action !== 'create') classOfRow(row, action, 'explain()')
}

// Reads the row with all columns. Global scopes, such as soft deletion, are parts of the explanation.
async function stored(cls: typeof Model, row: Model): Promise<Values | undefined> {
  const found = await asSystem(() => {
    const query = cls.query().findById(row.$id() as string)
    return 'withDeleted' in query && typeof query.withDeleted === 'function' ? (query.withDeleted() as typeof query) : query
  })
  return found && valuesByName(found)
}

const enabledOf = (given: UserLike | Actor | null, actor: Actor | null): Actor | null =>
  given !== null && actor === null ? enabledActorOf(given) : null

// A user without roles, who owns nothing.
function stranger(): Actor {
  const type = idSpecOf(registeredModel('user'))?.type
  const id = type === 'integer' ? 0 : type === 'bigint' ? '0' : '00000000-0000-4000-8000-000000000000'
  return { id: id as string, user: {}, grants: [], sessionId: null, abilities: null, impersonatorId: null }
}

/** Returns the name of a caller for sentences: the user name or address, else the id. */
export function nameOf(given: UserLike | Actor | null): string {
  if (given === null) return 'the caller'
  const user = ('user' in given ? given.user : given) as { id?: unknown; username?: unknown; email?: unknown }
  return String(user.username ?? user.email ?? `user ${String(given.id)}`)
}

async function fieldsOf(knex: Knex, { cls, action }: Subject, scope: Scope): Promise<FieldExplanation[]> {
  const method = action === 'read' ? 'readableBy' : 'writableBy'
  const ruled = Object.entries(definitionOf(cls).specs).flatMap(([field, { readable, writable }]) => {
    const rule = (action === 'read' ? readable : writable) as Rule | undefined
    return rule ? [{ field, rule }] : []
  })
  const kind = action === 'read' ? 'read' : 'write'
  const conditions = ruled.map(({ rule }): Condition => any(fieldBypass(scope, rule, kind), compile(rule, scope)))
  const allowed = await truths(knex, conditions)
  return ruled.map(({ field, rule }, i) => ({ field, rule: method, words: words(rule), allowed: allowed[i] === true }))
}
