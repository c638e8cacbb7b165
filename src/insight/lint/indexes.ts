/** Finds columns that rules compare in every list, and that no index begins with. */
import type { Knex } from 'knex'
import type { Model } from 'objection'
import type { DatabaseSchema, TableSchema } from '../../database/catalogue/schema-types.js'
import { sentName } from '../../database/tables/existing-tables.js'
import { policyOf } from '../../policy/policy.js'
import { type Rule, walk } from '../../policy/rules.js'
import { relationOf } from '../../query/objection-internals.js'
import { tableOf } from '../../schema/class-statics.js'
import { columnOf } from '../../schema/definition/definition.js'
import type { ModelClass } from '../../schema/model-class.js'

/** A column that a rule compares with one value, or with the column of another row. */
export interface ComparedColumn {
  readonly model: string
  readonly table: string
  readonly column: string
  /** The rule, for the message: "owner() of Note". */
  readonly rule: string
}

/** Returns the columns without an index that owner(), the domain and related() compare in lists. A table that is missing has none. */
export function columnsWithoutIndex(classes: readonly ModelClass[], schema: DatabaseSchema, knex: Knex): readonly ComparedColumn[] {
  const compared = new Map<string, ComparedColumn>()
  for (const cls of classes) for (const one of comparedBy(cls)) compared.set(`${one.table}.${one.column}`, one)
  return [...compared.values()].filter((one) => lacksIndex(schema, knex, one))
}

/** Returns the tables whose indexes columnsWithoutIndex() examines. */
export function tablesCompared(classes: readonly ModelClass[]): readonly string[] {
  return [...new Set(classes.flatMap((cls) => comparedBy(cls).map(({ table }) => table)))]
}

/** Returns the table of a model as the database has it. */
export function tableIn(schema: DatabaseSchema, knex: Knex, table: string): TableSchema | undefined {
  const { schema: place, name } = sentName(knex, table)
  return (place === undefined ? undefined : schema.tables.get(`${place}.${name}`)) ?? schema.tables.get(name)
}

function lacksIndex(schema: DatabaseSchema, knex: Knex, { table, column }: ComparedColumn): boolean {
  const existing = tableIn(schema, knex, table)
  if (!existing) return false
  const name = sentName(knex, column).name
  if (!existing.columns.has(name)) return false
  return existing.primaryKey[0] !== name && !existing.indexes.some(({ columns }) => columns[0] === name)
}

function comparedBy(cls: ModelClass): ComparedColumn[] {
  const policy = policyOf(cls)
  return [policy.read, ...policy.globalScopes.map(({ rule }) => rule)].flatMap((rule) => comparedByRule(cls, rule))
}

function comparedByRule(cls: ModelClass, rule: Rule): ComparedColumn[] {
  const policy = policyOf(cls)
  const own = (property: string | undefined, words: string): ComparedColumn[] =>
    property === undefined
      ? []
      : [{ model: cls.name, table: tableOf(cls), column: columnOf(cls, property), rule: `${words} of ${cls.name}` }]
  return [...walk(rule)].flatMap((part) => {
    if (part.kind === 'owner') return policy.isUserModel && part.field === undefined ? [] : own(part.field ?? policy.ownerField, 'owner()')
    if (part.kind === 'member') return own(part.field, 'the domain')
    if (part.kind === 'delegate') return own(policy.ownerField, 'the owner')
    return part.kind === 'related' ? comparedByRelation(cls, part.relation) : []
  })
}

/** EXISTS looks the related rows up by their side of the relation, and the rows of a join table by its first column. */
function comparedByRelation(cls: typeof Model, name: string): ComparedColumn[] {
  const { relatedModelClass, relatedProp, joinTable, joinTableOwnerProp } = relationOf(cls, name)
  const shared = { model: cls.name, rule: `related('${name}') of ${cls.name}` }
  if (joinTable && joinTableOwnerProp) return joinTableOwnerProp.cols.slice(0, 1).map((column) => ({ ...shared, table: joinTable, column }))
  return relatedProp.cols.slice(0, 1).map((column) => ({ ...shared, table: tableOf(relatedModelClass), column }))
}
