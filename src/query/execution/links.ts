/** Corrects writes to links of many-to-many relations, which Objection finds by a subquery over the join table. */
import type { Model } from 'objection'
import { memoize } from '../../core/memoize.js'
import { definitionOf } from '../../schema/definition/definition.js'
import { dialectOf } from '../../schema/storage.js'
import type { ObjectionBuilder } from '../objection-internals.js'
import { isEnforcingBuilder } from '../query-builder.js'
import { isFilterOfWrite } from './write-operation.js'

interface JoinTableProp {
  readonly cols: readonly string[]
  refs(builder: ObjectionBuilder): readonly unknown[]
}

/** The members of Objection's ManyToManyRelation that this file uses. */
interface Links {
  joinTableModelClass: typeof Model
  joinTableModify: unknown
  readonly joinTableOwnerProp: JoinTableProp
  readonly joinTableRelatedProp: JoinTableProp
  update(builder: ObjectionBuilder, owner: unknown): LinkOperation
  patch(builder: ObjectionBuilder, owner: unknown): LinkOperation
  unrelate(builder: ObjectionBuilder, owner: unknown): LinkOperation
}

/** Objection's operation that patches or deletes links. */
interface LinkOperation {
  readonly name: string
  readonly opt: object
  readonly relation: Links
  readonly owner: { getProps(relation: Links): unknown }
  readonly modifyFilterSubquery: ObjectionBuilder
  applyModifyFilterForJoinTable(builder: ObjectionBuilder): ObjectionBuilder
}
type OperationClass = new (name: string, opt: object) => LinkOperation

/** SQLite's built-in key of each row. */
const rowId = '_rowid_'

const isSqlite = (builder: ObjectionBuilder) => dialectOf(builder.knex()) === 'sqlite'

/** Returns the declared id columns of the class of a join table; an empty array if the table has no model. */
function idColumns(cls: typeof Model): string[] {
  const { idColumn } = cls
  const declared = isEnforcingBuilder(cls.QueryBuilder) ? [...definitionOf(cls).columnOf.values()] : []
  const columns = [idColumn ?? []].flat()
  return columns.every((column) => declared.includes(column)) ? columns : []
}

const exact = new WeakSet<object>()

/**
 * Makes unrelate() and patch() through a many-to-many relation change exactly the links that they name.
 *
 * On SQLite, Objection finds links by `_rowid_`. If a policy or `modify` replaces the join table by a subquery without that column,
 * SQLite resolves `_rowid_` in the outer statement and compares each row with itself. On other databases, Objection finds links by
 * the related row alone, so links of other owners to that row change too.
 */
export function nameLinksExactly(relation: object): void {
  const links = relation as Links
  if (!links.joinTableModelClass || exact.has(links)) return
  exact.add(links)
  const { joinTableModify } = links
  links.joinTableModify = (query: ObjectionBuilder) => {
    query.modify(joinTableModify)
    if (query.isFind() && isFilterOfWrite(query) && !query.isSelectAll()) selectKey(query, links)
  }
  for (const name of ['update', 'patch', 'unrelate'] as const) {
    const make = links[name]
    links[name] = (builder, owner) => {
      const operation = make.call(links, builder, owner)
      if (isSqlite(builder)) return operation
      const Exact = memoize(exactClasses, operation.constructor, () => exactClass(operation.constructor as OperationClass))
      return new Exact(operation.name, operation.opt)
    }
  }
}

function selectKey(query: ObjectionBuilder, links: Links): void {
  const columns = isSqlite(query) ? [rowId] : idColumns(links.joinTableModelClass)
  const ref = query.tableRef()
  const hasAll = !query.hasSelects()
  if (hasAll) query.select(`${ref}.*`)
  if (!hasAll || columns.includes(rowId)) query.select(columns.map((column) => `${ref}.${column}`))
}

const exactClasses = new WeakMap<object, OperationClass>()

function exactClass(Base: OperationClass): OperationClass {
  return class extends Base {
    override applyModifyFilterForJoinTable(builder: ObjectionBuilder): ObjectionBuilder {
      const { joinTableModelClass, joinTableOwnerProp, joinTableRelatedProp } = this.relation
      const ids = idColumns(joinTableModelClass).map((column) => `${builder.tableRefFor(joinTableModelClass)}.${column}`)
      const owners = joinTableOwnerProp.refs(builder)
      const key = ids.length > 0 ? ids : [...owners, ...joinTableRelatedProp.refs(builder)]
      // The second condition lets the database use an index.
      return builder
        .whereInComposite(key, this.modifyFilterSubquery.clone().select(key))
        .whereInComposite(owners, this.owner.getProps(this.relation))
    }
  }
}
