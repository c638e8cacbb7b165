/** Gives columns the types of the ids that they refer to. */
import { ConfigurationError } from '../../core/errors.js'
import { modelSlot } from '../../runtime.js'
import { type ColumnSpec, columnNameOf } from '../column.js'
import { mergedColumns, ownIdColumns, type RecordClass } from './declarations.js'
import type { Definition } from './definition.js'

/** The model for each table name that references() may name: the registered user model for 'user'. */
const referenceTargets = modelSlot<ReadonlyMap<string, object>>(() => new Map())

/** The parts of a column's type that a column shares with the column that it refers to. */
type KeyType = Pick<ColumnSpec, 'type' | 'maxLength' | 'minimum' | 'maximum' | 'isRowId' | 'isKey'>

/** Returns the definition of a class. It is a parameter, because definitions are made with the functions of this file. */
type Structure = (cls: object) => Pick<Definition, 'specs'>

// Reads the declaration of the class, not its definition: a model may refer to itself.
function keyTypeOf(cls: object, property: string, structureOf: Structure): KeyType | undefined {
  const spec = mergedColumns(cls)[property]?.spec ?? existingKey(cls, property, structureOf)
  if (!spec) return undefined
  const { type, maxLength, minimum, maximum } = spec
  const range = { ...(minimum === undefined ? {} : { minimum }), ...(maximum === undefined ? {} : { maximum }) }
  return {
    type,
    ...(maxLength === undefined ? {} : { maxLength }),
    ...range,
    ...(isMadeByDatabase(cls as RecordClass, property, spec) ? { isRowId: true } : {}),
    ...(isNumber(spec) && isIdOf(cls as RecordClass, property) ? { isKey: true } : {}),
  }
}

/** The classes whose definitions are being made. */
const unfinished = new Set<object>()

// The column of an existing model that only its JSON Schema describes.
function existingKey(cls: object, property: string, structureOf: Structure): ColumnSpec | undefined {
  if (unfinished.has(cls)) return undefined
  unfinished.add(cls)
  try {
    return structureOf(cls).specs[property]
  } finally {
    unfinished.delete(cls)
  }
}

// An integer id that nothing else sets is made by the database.
function isMadeByDatabase(cls: RecordClass, property: string, spec: ColumnSpec): boolean {
  return isNumber(spec) && !spec.hasDefault && !spec.reference && isOnlyId(cls, property)
}

const isNumber = ({ type }: ColumnSpec): boolean => type === 'integer' || type === 'bigint'

const isOnlyId = (cls: RecordClass, property: string): boolean => ownIdColumns(cls).length === 1 && isIdOf(cls, property)

// Returns whether a property is an id column, or one of several. getIdProperty() needs the definition that is being made.
function isIdOf(cls: RecordClass, property: string): boolean {
  const column = mergedColumns(cls)[property]?.spec.columnName ?? columnNameOf(property)
  return ownIdColumns(cls).some((id) => id === property || id === column)
}

/**
 * Returns the declaration of a column as it applies: with the type of the column that it refers to, and with what follows from being an
 * id. Clients cannot change ids.
 *
 * @throws ConfigurationError for a column that is declared with another type
 */
export function resolvedSpec(cls: RecordClass, name: string, spec: ColumnSpec, structureOf: Structure): ColumnSpec {
  if (!isIdOf(cls, name)) return withTypeOfTarget(cls, name, spec, structureOf)
  if (isMadeByDatabase(cls, name, spec)) return Object.freeze({ ...spec, isGenerated: true, isRowId: true, isKey: true, isImmutable: true })
  const resolved = withTypeOfTarget(cls, name, spec, structureOf)
  return Object.freeze({ ...resolved, isImmutable: true, ...(isNumber(resolved) ? { isKey: true } : {}) })
}

function withTypeOfTarget(cls: RecordClass, name: string, spec: ColumnSpec, structureOf: Structure): ColumnSpec {
  const reference = spec.reference ?? spec.typeOf
  const target = reference && referenceTargets.get().get(reference.table)
  const type = target && keyTypeOf(target, propertyOfReference(target, reference.column), structureOf)
  if (!type || isSameType(type, spec)) return spec
  if (spec.type !== 'uuid' && spec.type !== type.type) {
    throw new ConfigurationError(
      `${cls.name}.${name} is a ${spec.type} column that refers to ${reference.table}.${reference.column} of ${(target as RecordClass).name}, a ${type.type} column. ` +
        `Declare it with column.${type.type}(...).`,
    )
  }
  const { maxLength: _length, minimum: _minimum, maximum: _maximum, ...rest } = spec
  return Object.freeze({ ...rest, ...type })
}

const isSameType = (type: KeyType, spec: ColumnSpec): boolean =>
  (['type', 'maxLength', 'minimum', 'maximum', 'isRowId', 'isKey'] as const).every((key) => type[key] === spec[key])

const propertyOfReference = (cls: object, column: string): string =>
  mergedColumns(cls)[column] ? column : (Object.keys(mergedColumns(cls)).find((name) => columnNameOf(name) === column) ?? column)

/** Replaces the models that references() may name. @returns whether the type of any of their ids has changed */
export function replaceReferenceTargets(targets: ReadonlyMap<string, object>, structureOf: Structure): boolean {
  const before = referenceTargets.get()
  const typeIn = (map: ReadonlyMap<string, object>, name: string) => {
    const cls = map.get(name)
    const ids = cls ? Object.keys(mergedColumns(cls)).filter((property) => isOnlyId(cls as RecordClass, property)) : []
    return JSON.stringify(ids.map((property) => keyTypeOf(cls as object, property, structureOf)))
  }
  const isSame = [...targets.keys()].every((name) => typeIn(before, name) === typeIn(targets, name))
  referenceTargets.set(targets)
  return !isSame
}
