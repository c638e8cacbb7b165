/** The entries of the audit log for changed rows: what they say about a row before and after a write. */
import type { Model } from 'objection'
import { memoize } from '../../core/memoize.js'
import { policyFrameOf } from '../../policy/policy.js'
import { holdsUsers } from '../../policy/user-tables.js'
import { tableOf } from '../../schema/class-statics.js'
import { definitionOf, idProperties } from '../../schema/definition/definition.js'
import { valuesByName } from '../../schema/model-class.js'

/**
 * `static audited`: whether changes of rows are stored in the audit log, or of which columns.
 *
 * @example const audited: Audited = ['status', 'assigneeId']
 */
export type Audited = boolean | readonly string[]

/** The most characters of a value in an entry. */
const MAX_TEXT = 1000

/** The columns of a model that its entries name. */
interface AuditedColumns {
  /** Those whose values are stored. */
  readonly shown: readonly string[]
  /** Those of which only the names are stored, because not everyone who reads the log may read their values. */
  readonly restricted: readonly string[]
  /** Those that are never named. A change of these alone is stored all the same. */
  readonly unnamed: readonly string[]
}

const auditedOf = (cls: object): Audited => (cls as { readonly audited?: Audited }).audited ?? false

/** Returns whether changes of a model's rows are stored in the audit log. */
export const isAudited = (cls: object): boolean => auditedOf(cls) !== false

const known = new WeakMap<object, AuditedColumns>()

function columnsOf(cls: typeof Model): AuditedColumns {
  return memoize(known, cls, () => {
    const { specs } = definitionOf(cls)
    const audited = auditedOf(cls)
    const uninteresting = new Set([...idProperties(cls), 'createdAt', 'updatedAt'])
    const names = Array.isArray(audited) ? (audited as readonly string[]) : Object.keys(specs).filter((name) => !uninteresting.has(name))
    const isReadByAdmins = policyFrameOf(cls).bypass.read
    const isRestricted = (name: string) => !isReadByAdmins || specs[name]?.readable !== undefined
    const visible = names.filter((name) => !specs[name]?.isHidden)
    return {
      shown: visible.filter((name) => !isRestricted(name)),
      restricted: visible.filter(isRestricted),
      unnamed: names.filter((name) => specs[name]?.isHidden),
    }
  })
}

/** A change of one row. `before` is undefined for a new row, and `after` for one that was deleted for good. */
export interface RowChange {
  readonly cls: typeof Model
  readonly before: Model | undefined
  readonly after: Model | undefined
}

/** Returns the entry of a change, without who made it; null if no audited column changed. */
export function entryOf({ cls, before, after }: RowChange): Record<string, unknown> | null {
  const [was, is] = [before && valuesByName(before), after && valuesByName(after)]
  const { shown, restricted, unnamed } = columnsOf(cls)
  const isChanged = (name: string) => JSON.stringify(was?.[name] ?? null) !== JSON.stringify(is?.[name] ?? null)
  const [changed, secretly] = [shown.filter(isChanged), restricted.filter(isChanged)]
  const isUpdate = was !== undefined && is !== undefined
  if (isUpdate && changed.length + secretly.length === 0 && !unnamed.some(isChanged)) return null
  const valuesIn = (values: Readonly<Record<string, unknown>>) => Object.fromEntries(changed.map((name) => [name, stored(values[name])]))
  const row = after ?? before
  return {
    event: eventOf(was, is),
    subjectId: holdsUsers(cls) ? row?.$id() : null,
    domainId: domainOf(cls, was, is),
    rowTable: tableOf(cls).slice(0, 128),
    rowId: textOf(row?.$id()),
    details: {
      ...(was && { before: valuesIn(was) }),
      ...(is && { after: valuesIn(is) }),
      ...(secretly.length > 0 && { restricted: secretly }),
    },
  }
}

type Values = Readonly<Record<string, unknown>> | undefined

function eventOf(was: Values, is: Values): string {
  if (was === undefined) return 'rowCreated'
  if (is === undefined) return 'rowDeleted'
  const [deletedBefore, deletedAfter] = [(was.deletedAt ?? null) !== null, (is.deletedAt ?? null) !== null]
  if (deletedBefore === deletedAfter) return 'rowUpdated'
  return deletedAfter ? 'rowDeleted' : 'rowRestored'
}

// Admins of a domain read the entries of their domain. Those of one domain must not read the values that a row had in another.
function domainOf(cls: typeof Model, was: Values, is: Values): unknown {
  const { domainField } = policyFrameOf(cls)
  if (domainField === undefined) return null
  const [before, after] = [was?.[domainField] ?? null, is?.[domainField] ?? null]
  return was === undefined ? after : is === undefined || before === after ? before : null
}

/** Returns the text of an id. That of a composite key is a JSON array. */
const textOf = (id: unknown): string | null =>
  id === undefined || id === null ? null : (Array.isArray(id) ? JSON.stringify(id) : String(id)).slice(0, 191)

/** Returns a value as an entry stores it: long ones are cut. */
function stored(value: unknown): unknown {
  if (value === undefined || value === null) return null
  if (typeof value === 'string') return cut(value)
  if (typeof value === 'bigint') return String(value)
  if (typeof value !== 'object') return value
  const text = JSON.stringify(value)
  return text.length > MAX_TEXT ? cut(text) : JSON.parse(text)
}

const cut = (text: string): string => (text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT).replace(/[\uD800-\uDBFF]$/, '')}…`)
