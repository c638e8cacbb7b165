import type { Knex } from 'knex'
import type { Model } from 'objection'
import { readSchema } from '../../database/catalogue/read-schema.js'
import type { DatabaseSchema } from '../../database/catalogue/schema-types.js'
import { userTables } from '../../policy/user-tables.js'
import { type ModelClass, modelClass } from '../../schema/model-class.js'
import { policiesOf } from '../leaves.js'
import { constantLeaves } from './constant-leaves.js'
import { type Examined, type LintFinding, withoutAcknowledged } from './finding.js'
import { rolesWithoutGrants } from './granted-roles.js'
import { columnsWithoutIndex, tableIn, tablesCompared } from './indexes.js'
import { checksInCode, createWithoutOwner, liftedScopes, missingPolicy, unprotected, widerThanRead } from './policy-findings.js'

const order = { error: 0, warning: 1, info: 2 }

/**
 * Returns weaknesses of policies, the most severe ones first: conditions that are always true or false, rules that add nothing, rules that
 * are wider than `read`, rows created without an owner, columns without an index, roles that nobody holds, and more. Reads the indexes and
 * the granted roles from the database of the models, and skips both without a database. Findings that a model acknowledges are left out.
 *
 * @param models the classes to examine
 * @throws ConfigurationError for invalid rules
 * @example
 * for (const { model, action, reason, fix } of await lint([Critter, UserDocument])) console.log(`${model}.${action}: ${reason} ${fix}`)
 */
export async function lint(models: readonly (abstract new (...args: never[]) => Model)[]): Promise<readonly LintFinding[]> {
  const classes = [...new Set(models)].map(modelClass)
  const policies = policiesOf(models)
  const examined: Examined[] = [...policies].map(([cls, policy]) => ({ cls, name: modelClass(cls).name, policy }))
  const knex = classes[0]?.knex() as Knex | undefined
  const findings = [
    ...classes.filter((cls) => !policies.has(cls)).map(({ name }) => unprotected(name)),
    ...examined.flatMap((one) => [
      ...missingPolicy(one),
      ...liftedScopes(one),
      ...constantLeaves(one),
      ...widerThanRead(one),
      ...createWithoutOwner(one),
      ...checksInCode(one),
    ]),
    ...(knex ? await databaseFindings(examined, knex) : []),
  ]
  return withoutAcknowledged(classes, findings).sort((one, other) => order[one.severity] - order[other.severity])
}

async function databaseFindings(examined: readonly Examined[], knex: Knex): Promise<LintFinding[]> {
  const classes = examined.map(({ cls }) => modelClass(cls))
  const roles = userTables().userRole.table
  const schema = await readSchema(knex, { tables: [...tablesCompared(classes), roles] })
  return [...missingIndexes(classes, schema, knex), ...(tableIn(schema, knex, roles) ? await rolesWithoutGrants(examined, knex) : [])]
}

function missingIndexes(classes: readonly ModelClass[], schema: DatabaseSchema, knex: Knex): LintFinding[] {
  return columnsWithoutIndex(classes, schema, knex).map(({ model, table, column, rule }) => ({
    ...{ code: 'missing-index', severity: 'warning', model, action: 'read', leaf: { path: `${table}.${column}`, words: rule } },
    reason: `No index of '${table}' begins with ${column}, which ${rule} compares in each list.`,
    fix: 'Declare it with .index(), and run `npx objection-perms migrate make NAME`.',
  }))
}
