/** The names of a row's columns and relations, for rules and relations that name the model they belong to. */
import type { Model } from 'objection'
import type { ActiveRecord } from './record-types.js'

/** The members of a row that are neither columns nor relations. */
export type RowMember = keyof Model | keyof ActiveRecord

type NamesWith<R, V> = { [K in keyof R]-?: K extends RowMember ? never : NonNullable<R[K]> extends V ? K : never }[keyof R] & string

/** A value that identifies a row. */
type IdValue = string | number | bigint

// A class whose properties TypeScript does not know takes any name. The class is then checked when it is first used.
type OrAny<Names extends string> = [Names] extends [never] ? string : Names

/** The properties of a row that may hold an id. Without a row type, any name. */
export type IdColumn<R> = 0 extends 1 & R ? string : OrAny<NamesWith<R, IdValue>>

/** The declared relations of a row: properties that hold a row or a list of rows. Without a row type, any name. */
export type RelationName<R> = 0 extends 1 & R ? string : NamesWith<R, Model | readonly Model[]>

/** The row at the other end of a declared relation. */
// While TypeScript infers R from an inner rule, R is never.
// biome-ignore lint/suspicious/noExplicitAny: without a row type, a row of any type
export type RelatedRow<R, N> = [R] extends [never] ? any : 0 extends 1 & R ? any : N extends keyof R ? RowOf<NonNullable<R[N]>> : any

// biome-ignore lint/suspicious/noExplicitAny: without a row type, a row of any type
type RowOf<V> = V extends readonly (infer E extends object)[] ? E : V extends object ? V : any
