import type { Knex } from 'knex'
import type { Model, QueryBuilder, TransactionOrKnex } from 'objection'
import type { Column, ColumnSpec, Columns, Row } from '../schema/column.js'
import type { ColumnNames, RecordClass, TableKeys } from '../schema/definition/declarations.js'
import { idProperties } from '../schema/definition/definition.js'
import type { ModelSchemas } from '../schema/json-schemas.js'

// biome-ignore lint/suspicious/noExplicitAny: TypeScript wants any[] in the constructor of a mixin's base
export type AbstractConstructor<T = object> = abstract new (...args: any[]) => T
/** A concrete class: `this` of the static methods. */
export type Constructor<T = object> = new () => T

/** The id of a model that declares no other one: a string. A member of its own, so that withColumns() can replace it. */
export interface StringId {
  id: string
}

/** The id of a row whose class has integer ids. */
interface NumberId {
  id: number
}

// Without the constituent that declares the id, where an intersection has it.
type WithoutId<T, Id> = T extends AbstractConstructor<Id> & infer Rest ? Rest : T

/** A class with further columns. Its id replaces the id of the base class. */
export type ClassWithColumns<T, C extends Columns> = C extends { id: Column<infer I, boolean> }
  ? WithoutId<T, [I] extends [string] ? NumberId : StringId> & AbstractConstructor<Row<C>>
  : T & AbstractConstructor<Row<C>>

/** The type of a row's id. A composite key is an array, in the order of `static idColumn`. */
export type IdOf<M> = (M extends { id: infer I } ? I : string | number) | readonly (string | number)[]

/** The instance methods of ActiveRecordMixin. */
export interface ActiveRecord {
  /** Inserts a new row, or updates the columns that have changed since the row was read. */
  save(trx?: TransactionOrKnex): Promise<this>
  /** Sets these values and saves them. If this fails, the row keeps its earlier values. */
  update(values: Partial<this>, trx?: TransactionOrKnex): Promise<this>
  /** Like update(), for values from a client: throws for properties that clients may not write. */
  updateFrom(input: unknown, trx?: TransactionOrKnex): Promise<this>
  /** Deletes the row. @throws NotFoundError if the row no longer exists */
  delete(trx?: TransactionOrKnex): Promise<void>
  /** Returns an independent copy of this row. */
  getClone(): this
  /** Whether the row has never been saved. */
  readonly isNew: boolean
  /** Waits for pending values before the row is written, such as a password hash. Mixins extend it. */
  $settle(trx?: TransactionOrKnex): Promise<void>
  /** Runs an update of a saved row. Mixins override it to do more in the same transaction. */
  $around(write: () => Promise<void>, changes: object, trx?: TransactionOrKnex): Promise<void>
  /**
   * Runs a write and restores the row if the write is undone: if a later check fails, or if the transaction is rolled back. Then the
   * row can be saved again.
   */
  $orAsBefore<R>(write: () => PromiseLike<R>, trx?: TransactionOrKnex): Promise<R>
}

/** The static methods of ActiveRecordMixin. */
export interface ActiveRecordStatics {
  /** The JSON Schemas of input and output of clients. */
  readonly schema: ModelSchemas
  /**
   * The columns of properties in an existing table, for inherited properties too: by property, or as a function of the property's
   * name. Other columns have the name of `named()`, or the property's name in snake_case.
   *
   * @example class Account extends User { static override columnNames = { email: 'login_email', passwordHash: 'password' } }
   */
  columnNames?: ColumnNames
  /** The declared columns, including inherited ones. */
  readonly columnSpecs: Readonly<Record<string, ColumnSpec>>
  /**
   * Returns a subclass with these columns. Types, validation, table and schemas come from this one declaration.
   *
   * @param keys unique constraints and indexes over several columns
   * @example class Critter extends BasePermsModel.withColumns({ name: column.string({ maxLength: 100 }) }) {}
   * @example
   * class Seat extends BasePermsModel.withColumns({ row: column.string(), number: column.integer() }, { uniques: [['row', 'number']] }) {}
   */
  withColumns<T extends AbstractConstructor<Model>, C extends Columns>(this: T, columns: C, keys?: TableKeys): ClassWithColumns<T, C>
  /** Creates and validates a row without saving it. @throws ValidationError */
  build<M extends Model>(this: Constructor<M>, values: Partial<M>): M
  /** Creates, validates and saves a row. @throws ValidationError, UniqueViolationError, ForbiddenError */
  create<M extends Model>(this: Constructor<M>, values: Partial<M>, trx?: TransactionOrKnex): Promise<M>
  /** Like create(), for values from a client: throws for properties that clients may not write. */
  createFrom<M extends Model>(this: Constructor<M>, input: unknown, trx?: TransactionOrKnex): Promise<M>
  /** Returns the first row with these values, or null. */
  getBy<M extends Model>(this: Constructor<M>, where: Partial<M>, trx?: TransactionOrKnex): Promise<M | null>
  /** Returns the first row with these values. @throws NotFoundError */
  getByOr404<M extends Model>(this: Constructor<M>, where: Partial<M>, trx?: TransactionOrKnex): Promise<M>
  /** Returns the row with this id, or null. A malformed id also gives null. */
  get<M extends Model>(this: Constructor<M>, id: IdOf<M>, trx?: TransactionOrKnex): Promise<M | null>
  /** Returns the row with this id. @throws NotFoundError */
  getOr404<M extends Model>(this: Constructor<M>, id: IdOf<M>, trx?: TransactionOrKnex): Promise<M>
}

/** The static methods that this library calls on model classes. Users see the interfaces above. */
export interface RecordStatics extends RecordClass {
  readonly schema: ModelSchemas
  knex(): Knex
  query(trx?: TransactionOrKnex): QueryBuilder<Model>
  fromJson(json: object, options?: object): Model & ActiveRecord
  build(values: object): Model & ActiveRecord
  /** Loads more data after get(), getBy() and create(). Mixins override it. */
  afterGet(rows: readonly Model[], trx?: TransactionOrKnex): Promise<void>
}

/** A class with the static methods of Objection, which the layers of an active record extend. */
export type ModelBase = typeof Model & Pick<RecordClass, 'getTableName' | 'getIdProperty'>

/** Returns the class of a row. */
export function classOf(row: object): RecordStatics {
  return row.constructor as RecordStatics
}

/** Returns a row typed as its values by property. */
export function valuesOf(row: object): Record<string, unknown> {
  return row as Record<string, unknown>
}

/** Returns whether a property of a class is part of its id. */
export function isIdProperty(cls: object, name: string): boolean {
  return idProperties(cls).includes(name)
}
