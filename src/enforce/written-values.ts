import { isDeepStrictEqual } from 'node:util'
import type { Model } from 'objection'
import { ForbiddenError } from '../core/errors.js'
import { message } from '../core/messages/message.js'
import { methodOf, type OpenKnexBuilder, singlePartsOf } from '../database/knex-internals.js'
import type { QueryHandle } from '../query/policy-enforcer.js'
import { codecNow, dialectOfClass } from '../record/codec.js'
import { definitionOf, idProperties, namedProperty, propertyMeant } from '../schema/definition/definition.js'
import { encode } from '../schema/storage.js'
import { setNames, valuesOf } from './evaluate.js'
import { referenceFields } from './references.js'
import { decisiveIn } from './updates.js'

type Row = Readonly<Record<string, unknown>>

/**
 * Checks that a statement writes the checked values. Column names as keys, $formatDatabaseJson() and onBuildKnex() could make it
 * write other ones.
 *
 * @throws ForbiddenError
 */
export function checkWritten(builder: QueryHandle, statement: OpenKnexBuilder, models: readonly Model[]): void {
  const { insert, update, counter } = singlePartsOf(statement)
  const rows = (methodOf(statement) === 'insert' ? [insert].flat() : [{ ...(update as Row), ...(counter as Row) }]) as Row[]
  rows.forEach((row, i) => {
    if (methodOf(statement) === 'insert') checkInserted(builder.cls, models[i], row)
    else checkUpdated(builder.cls, models[0], row)
  })
}

function checkUpdated(cls: typeof Model, model: Model | undefined, row: Row): void {
  const names = setNames(model)
  const isDecisive = decisiveIn(cls)
  for (const key of Object.keys(row)) {
    const name = propertyFor(cls, key)
    // A rule may name a column of an application's class by its column name.
    if (!isDecisive(name) && !isDecisive(key)) continue
    if (!names.includes(name)) rejectValue(cls, key, name)
    // Other columns are checked again in the updated row.
    if ((idProperties(cls).includes(name) || referenceFields(cls).has(name)) && !isWritten(cls, name, model, row[key]))
      rejectValue(cls, key, name)
  }
}

function checkInserted(cls: typeof Model, model: Model | undefined, row: Row): void {
  const names = setNames(model)
  const isDecisive = decisiveIn(cls)
  const written = new Set<string>()
  for (const key of Object.keys(row)) {
    const name = propertyFor(cls, key)
    written.add(name)
    if ((isDecisive(name) || isDecisive(key)) && !(names.includes(name) && isWritten(cls, name, model, row[key])))
      rejectValue(cls, key, name)
  }
  for (const name of names) if (!written.has(name) && definitionOf(cls).columnOf.has(name) && isDecisive(name)) rejectValue(cls, name, name)
}

/** Returns the property of a column. Rejects other spellings that the database reads as a column name. */
function propertyFor(cls: typeof Model, key: string): string {
  const property = definitionOf(cls).propertyOf.get(key)
  if (property !== undefined) return property
  const meant = propertyMeant(cls, key)
  return meant === undefined ? namedProperty(cls, key) : rejectValue(cls, key, meant)
}

function isWritten(cls: typeof Model, name: string, model: Model | undefined, value: unknown): boolean {
  const said = valuesOf(model)[name]
  // Raw SQL was already rejected for these columns.
  if (said === undefined) return true
  const dialect = dialectOfClass(cls)
  const spec = codecNow(cls).write.get(name)?.spec
  return isDeepStrictEqual(spec ? encode(spec, said, dialect) : said, value)
}

function rejectValue(cls: typeof Model, key: string, name: string): never {
  throw new ForbiddenError(message('row.valueDiffers', { model: cls.name, key, name }))
}
