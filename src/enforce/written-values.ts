import { isDeepStrictEqual } from 'node:util'
import type { Model } from 'objection'
import { ForbiddenError } from '../core/errors.js'
import type { GuardedBuilder } from '../query/policy-enforcer.js'
import type { OpenKnexBuilder } from '../query/statement.js'
import { dialectOfClass } from '../record/active-record.js'
import { codecNow } from '../record/codec.js'
import { definitionOf, propertyMeant } from '../schema/definition.js'
import { encode } from '../schema/storage.js'
import { idOf, setNames, valuesOf } from './evaluate.js'
import { referenceFields } from './references.js'
import { isJudged } from './updates.js'

type Row = Readonly<Record<string, unknown>>

/**
 * What is written must be what was judged, which were the model's properties: not another column by a key of the
 * column's own name, by $formatDatabaseJson() or by onBuildKnex().
 *
 * @throws ForbiddenError
 */
export function checkWritten(builder: GuardedBuilder, statement: OpenKnexBuilder, models: readonly Model[]): void {
  const { insert, update, counter } = statement._single
  const rows = (statement._method === 'insert' ? [insert].flat() : [{ ...(update as Row), ...(counter as Row) }]) as Row[]
  rows.forEach((row, i) => {
    if (statement._method === 'insert') checkInserted(builder.cls, models[i], row)
    else checkUpdated(builder.cls, models[0], row)
  })
}

function checkUpdated(cls: typeof Model, model: Model | undefined, row: Row): void {
  const names = setNames(model)
  for (const key of Object.keys(row)) {
    const name = propertyFor(cls, key)
    if (!isJudged(cls, name)) continue
    if (!names.includes(name)) refuse(cls, key, name)
    // Everything else is looked at once more in the row that comes of it.
    if ((name === idOf(cls) || referenceFields(cls).has(name)) && !isWritten(cls, name, model, row[key])) refuse(cls, key, name)
  }
}

function checkInserted(cls: typeof Model, model: Model | undefined, row: Row): void {
  const names = setNames(model)
  const written = new Set<string>()
  for (const key of Object.keys(row)) {
    const name = propertyFor(cls, key)
    written.add(name)
    if (isJudged(cls, name) && !(names.includes(name) && isWritten(cls, name, model, row[key]))) refuse(cls, key, name)
  }
  for (const name of names) if (!written.has(name) && definitionOf(cls).columnOf.has(name) && isJudged(cls, name)) refuse(cls, name, name)
}

/** The property for a column; what the database would take for a column is refused unless it is its very name. */
function propertyFor(cls: typeof Model, key: string): string {
  const property = definitionOf(cls).propertyOf.get(key)
  if (property !== undefined) return property
  const meant = propertyMeant(cls, key)
  return meant === undefined ? key : refuse(cls, key, meant)
}

function isWritten(cls: typeof Model, name: string, model: Model | undefined, value: unknown): boolean {
  const said = valuesOf(model)[name]
  // Raw SQL was refused where it matters.
  if (said === undefined) return true
  const dialect = dialectOfClass(cls as never)
  const spec = codecNow(cls as never).write.get(name)?.spec
  return isDeepStrictEqual(spec ? encode(spec, said, dialect) : said, value)
}

function refuse(cls: typeof Model, key: string, name: string): never {
  throw new ForbiddenError(
    `${cls.name}: '${key}' is not written as it was judged: set the property ${name}, in the values or in a hook such as $beforeUpdate().`,
  )
}
