/** Searches the smallest changes that would change the answer. */
import type { Knex } from 'knex'
import type { Condition } from '../../policy/compiler/condition.js'
import { effective } from '../../policy/effective.js'
import { truths } from './ask-many.js'
import { apply, type Change, changeWords, conflict, type OtherCallers } from './changes.js'
import { type State, type Subject, scopeOfState } from './state.js'

/** Changes of the row or the caller that would change the answer. No part of them suffices. */
export interface Counterfactual {
  /** The changes in words, such as "if status were 'published'". */
  readonly words: string
  readonly changes: readonly Change[]
  /** The answer with these changes. */
  readonly allowed: boolean
}

/** The most changes of one counterfactual, and the most sets of changes that are evaluated. */
const MAX_CHANGES = 3
const MAX_SETS = 1200

/**
 * Returns the sets of changes that would change the answer, the smallest first. Each was evaluated, and no strict subset of it changes
 * the answer.
 *
 * @param candidates the single changes to combine
 * @param name the caller in words
 */
export async function counterfactualsOf(
  knex: Knex,
  search: Search,
  candidates: readonly Change[],
  { allowed, name }: { readonly allowed: boolean; readonly name: string },
): Promise<Counterfactual[]> {
  const found: number[][] = []
  let budget = MAX_SETS
  for (let size = 1; size <= MAX_CHANGES; size += 1) {
    const sets = [...subsets(candidates, size)].filter((set) => !found.some((known) => known.every((index) => set.includes(index))))
    budget -= sets.length
    if (budget < 0) break
    const results = await answers(
      knex,
      search,
      sets.map((set) => set.map((index) => candidates[index] as Change)),
    )
    sets.forEach((set, i) => {
      if (results[i] !== undefined && results[i] !== allowed) found.push(set)
    })
  }
  return found.map((set) => {
    const changes = set.map((index) => candidates[index] as Change)
    return { words: `if ${changes.map((change) => changeWords(change, name)).join(' and ')}`, changes, allowed: !allowed }
  })
}

/** The question of a search. */
export interface Search {
  readonly subject: Subject
  readonly state: State
  readonly others: OtherCallers
}

function* subsets(candidates: readonly Change[], size: number, from = 0): Generator<number[]> {
  if (size === 0) {
    yield []
    return
  }
  for (let i = from; i <= candidates.length - size; i += 1) {
    for (const rest of subsets(candidates, size - 1, i + 1)) {
      if (!rest.some((j) => conflict(candidates[i] as Change, candidates[j] as Change))) yield [i, ...rest]
    }
  }
}

// The changed answers; undefined for changes that do not apply.
async function answers(knex: Knex, search: Search, sets: readonly (readonly Change[])[]): Promise<(boolean | undefined)[]> {
  const conditions = await Promise.all(sets.map((changes) => conditionAfter(search, changes)))
  const known = await truths(
    knex,
    conditions.filter((one): one is Condition => one !== undefined),
  )
  let next = 0
  return conditions.map((one) => (one === undefined ? undefined : known[next++]))
}

const isNewCaller = ({ kind }: Change): boolean => kind === 'signIn' || kind === 'enable'

async function conditionAfter({ subject, state, others }: Search, changes: readonly Change[]): Promise<Condition | undefined> {
  let changed: State | null = state
  // The other changes are those of the caller who is then known.
  const ordered = [...changes].sort((a, b) => Number(isNewCaller(b)) - Number(isNewCaller(a)))
  for (const change of ordered) changed = changed && apply(change, changed, others)
  if (!changed) return undefined
  const scope = await scopeOfState(subject, changed)
  return scope ? effective(subject.action, scope, { withDeleted: false }) : false
}
