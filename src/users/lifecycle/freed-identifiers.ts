/** `static freesEmail`: a soft-deleted user gives up the address and the other identifiers. */
import { randomBytes } from 'node:crypto'
import type { Model } from 'objection'
import { ConfigurationError } from '../../core/errors.js'
import { addWriteCheck } from '../../enforce/enforcer.js'
import { includingDeleted, isSoftDeletable } from '../../mixins/soft-delete.js'
import { asSystem } from '../../policy/context.js'
import { registeredModel } from '../../policy/registered-models.js'
import { holdsUsers } from '../../policy/user-tables.js'
import type { Execution, QueryHandle, WriteOperation } from '../../query/policy-enforcer.js'
import { tableOf } from '../../schema/class-statics.js'
import { structureOf } from '../../schema/definition/definition.js'
import { type ModelClass, modelClass, valuesByName } from '../../schema/model-class.js'
import { protectedIdentifiers } from '../account/identifiers.js'
import { AccountDeletion } from '../account-deletion.js'
import { skipCallerChange } from '../caller/caller-changes.js'
import { internalModels } from '../tables/internal-models.js'
import type { Token } from '../token.js'
import { writtenValuesOf } from '../written-values.js'
import { existsNow } from './existing-tables.js'

const freesEmail = (cls: object): boolean | 'recoverable' => (cls as { readonly freesEmail?: boolean | 'recoverable' }).freesEmail ?? false

const RANDOM_BYTES = 12
const PREFIX = 'deleted-'
const DOMAIN = '@deleted.invalid'

/** Returns a value that no one can use, and that no one can guess: a new account could take it otherwise. */
function placeholder(name: string): string {
  return PREFIX + randomBytes(RANDOM_BYTES).toString('hex') + (name === 'email' ? DOMAIN : '')
}

/** Returns the identifiers that the user model has. */
const identifierColumns = (cls: object): string[] => protectedIdentifiers(cls).filter((name) => structureOf(cls).specs[name])

/**
 * Checks `static freesEmail` of the registered user model.
 *
 * @throws ConfigurationError for another value, for a model without SoftDeleteMixin, and for identifiers that cannot hold a placeholder
 */
export function assertFreesEmail(cls: ModelClass): void {
  const said: unknown = freesEmail(cls)
  if (said === false) return
  const fail = (why: string): never => {
    throw new ConfigurationError(`${cls.name}.freesEmail ${why}`)
  }
  if (said !== true && said !== 'recoverable') fail("must be true, false or 'recoverable'.")
  if (!isSoftDeletable(cls))
    fail(`needs SoftDeleteMixin: class ${cls.name} extends SoftDeleteMixin(User). Other users are deleted for good.`)
  for (const name of identifierColumns(cls)) {
    const spec = structureOf(cls).specs[name]
    const sample = placeholder(name)
    if (
      spec &&
      !spec.isNullable &&
      ((spec.maxLength ?? sample.length) < sample.length || !new RegExp(spec.pattern ?? '', 'u').test(sample))
    )
      fail(`: ${name} cannot hold a placeholder such as '${sample}'. Make it nullable, or allow ${sample.length} such characters.`)
  }
}

/** Returns whether a write soft-deletes or restores users whose model frees their identifiers. */
function changeOf(cls: typeof Model, write: WriteOperation): 'free' | 'give back' | null {
  if (write.kind !== 'update' || !holdsUsers(cls) || freesEmail(registeredModel('user')) === false) return null
  const [values] = writtenValuesOf(write)
  if (values?.deletedAt === undefined) return null
  return values.deletedAt === null ? 'give back' : 'free'
}

const affected = new WeakMap<Execution, readonly Model[]>()

addWriteCheck({
  concerns: (cls, write) => changeOf(cls, write) !== null,

  async before(builder, write) {
    const isFreeing = changeOf(builder.cls, write) === 'free'
    const found: unknown = await builder.targets(builder.execution.action ?? 'update').forUpdate()
    const users = (Array.isArray(found) ? found : found ? [found] : []) as Model[]
    // A user who is deleted already has given up the identifiers. Deleting again must not record the placeholders as the originals.
    const isDeleted = (user: Model) => valuesByName(user).deletedAt !== null
    const changed = users.filter((user) => isDeleted(user) !== isFreeing)
    affected.set(builder.execution, changed)
    builder.execution.ids = users.map((user) => user.$id())
  },

  async after(builder, write) {
    const step = changeOf(builder.cls, write) === 'free' ? free : giveBack
    for (const user of affected.get(builder.execution) ?? []) await asSystem(() => step(builder, user))
  },
})

async function free(builder: QueryHandle, user: Model): Promise<void> {
  const cls = modelClass(registeredModel('user'))
  const { specs } = structureOf(cls)
  // check() of a policy, which runs later, may have kept the user.
  const names = identifierColumns(cls)
  const original = Object.fromEntries(names.map((name) => [name, valuesByName(user)[name] ?? null]))
  const freed = Object.fromEntries(names.map((name) => [name, specs[name]?.isNullable ? null : placeholder(name)]))
  const count = await includingDeleted(builder.query(cls))
    .findById(user.$id())
    .whereNotNull('deletedAt')
    .patch({ ...freed, ...(specs.emailVerifiedAt ? { emailVerifiedAt: null } : {}) } as object)
  if (count === 0) return
  await endCredentials(builder, user)
  if (freesEmail(cls) === 'recoverable') await keepOriginal(builder, user, original)
}

/** Ends everything with which the user could sign in: another account may get the address, the identity or the device. */
async function endCredentials(builder: QueryHandle, user: Model): Promise<void> {
  const userId = user.$id()
  for (const model of internalModels) {
    const { userField } = model as { readonly userField?: string }
    if (!model.isCredential || userField === undefined || !(await existsNow(builder.db, tableOf(model)))) continue
    await builder.query(model).delete().where(userField, userId)
  }
  const tokens = builder.query(registeredModel('token') as typeof Token)
  await skipCallerChange(tokens)
    .patch({ revoked: true, revokedAt: new Date() } as object)
    .where({ userId, revoked: false })
}

async function keepOriginal(builder: QueryHandle, user: Model, freed: Record<string, unknown>): Promise<void> {
  const userId = user.$id() as string
  const found = await builder.query(AccountDeletion).findOne({ userId })
  if (found)
    await builder
      .query(AccountDeletion)
      .findById(found.$id())
      .patch({ freed } as object)
  else await builder.query(AccountDeletion).insert({ userId, state: 'freed', freed } as object)
}

// A unique index refuses the address if another account has it by now, and the user stays deleted.
async function giveBack(builder: QueryHandle, user: Model): Promise<void> {
  if (!(await existsNow(builder.db, tableOf(AccountDeletion)))) return
  const found = (await builder.query(AccountDeletion).findOne({ userId: user.$id() as string })) as AccountDeletion | undefined
  if (!found?.freed) return
  const cls = registeredModel('user')
  await builder
    .query(cls)
    .findById(user.$id())
    .patch({ ...found.freed } as object)
  if (found.state === 'freed') await builder.query(AccountDeletion).deleteById(found.$id())
  else
    await builder
      .query(AccountDeletion)
      .findById(found.$id())
      .patch({ freed: null } as object)
}
