/** Checks whether the columns that policies compare have indexes. */
import type { Knex } from 'knex'
import type { Model } from 'objection'
import type { DatabaseSchema } from '../../../database/catalogue/schema-types.js'
import { sentName } from '../../../database/tables/existing-tables.js'
import { policyOf } from '../../../policy/policy.js'
import { type Rule, walk } from '../../../policy/rules.js'
import { relationOf } from '../../../query/objection-internals.js'
import { tableOf } from '../../../schema/class-statics.js'
import { columnOf, definitionOf } from '../../../schema/definition/definition.js'
import { type ModelClass, modelClass } from '../../../schema/model-class.js'
import { type Check, type Finding, warning } from './finding.js'
import { tableIn } from './tables.js'

/** A column that a rule compares with one value, or with the column of another row. */
interface Compared {
  readonly table: string
  readonly column: string
  /** The rule, for the message: "owner() of Note". */
  readonly rule: string
}

/** Reports columns without an index that owner(), the domain and related() compare in lists. */
export const checkIndexes: Check = ({ app, schema }) => {
  const { knex, models, options } = app.perms
  const classes = [...new Set([...Object.values(models), ...options.models])].map((cls) => modelClass(cls))
  const compared = new Map<string, Compared>()
  for (const cls of classes.filter((one) => Object.keys(definitionOf(one).specs).length > 0))
    for (const one of comparedBy(cls)) compared.set(`${one.table}.${one.column}`, one)
  return [...compared.values()].filter((one) => lacksIndex(schema, knex, one)).map(describe)
}

const describe = ({ table, column, rule }: Compared): Finding =>
  warning(
    'indexes',
    `No index of '${table}' begins with ${column}, which ${rule} compares in each list.`,
    'Declare it with .index(), and run `npx objection-perms migrate make NAME`.',
  )

function lacksIndex(schema: DatabaseSchema, knex: Knex, { table, column }: Compared): boolean {
  const existing = tableIn(schema, knex, table)
  if (!existing) return false
  const name = sentName(knex, column).name
  if (!existing.columns.has(name)) return false
  return existing.primaryKey[0] !== name && !existing.indexes.some(({ columns }) => columns[0] === name)
}

function comparedBy(cls: ModelClass): Compared[] {
  const policy = policyOf(cls)
  return [policy.read, ...policy.globalScopes.map(({ rule }) => rule)].flatMap((rule) => comparedByRule(cls, rule))
}

function comparedByRule(cls: typeof Model, rule: Rule): Compared[] {
  const policy = policyOf(cls)
  const own = (property: string | undefined, words: string): Compared[] =>
    property === undefined ? [] : [{ table: tableOf(cls), column: columnOf(cls, property), rule: `${words} of ${cls.name}` }]
  return [...walk(rule)].flatMap((part) => {
    if (part.kind === 'owner') return policy.isUserModel && part.field === undefined ? [] : own(part.field ?? policy.ownerField, 'owner()')
    if (part.kind === 'member') return own(part.field, 'the domain')
    if (part.kind === 'delegate') return own(policy.ownerField, 'the owner')
    return part.kind === 'related' ? comparedByRelation(cls, part.relation) : []
  })
}

/** EXISTS looks the related rows up by their side of the relation, and the rows of a join table by its first column. */
function comparedByRelation(cls: typeof Model, name: string): Compared[] {
  const { relatedModelClass, relatedProp, joinTable, joinTableOwnerProp } = relationOf(cls, name)
  const rule = `related('${name}') of ${cls.name}`
  if (joinTable && joinTableOwnerProp) return joinTableOwnerProp.cols.slice(0, 1).map((column) => ({ table: joinTable, column, rule }))
  return relatedProp.cols.slice(0, 1).map((column) => ({ table: tableOf(relatedModelClass), column, rule }))
}
