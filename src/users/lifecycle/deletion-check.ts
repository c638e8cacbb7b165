/** Applies `onUserDeleted` to every permanent deletion of users, and refuses those that would destroy rows silently. */
import type { Knex } from 'knex'
import type { Model } from 'objection'
import { ForbiddenError, ValidationError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { addWriteCheck } from '../../enforce/enforcer.js'
import { includingDeleted } from '../../mixins/soft-delete.js'
import { asSystem } from '../../policy/context.js'
import { holdsUsers } from '../../policy/user-tables.js'
import { protectionVersion } from '../../query/inspection/protected-tables.js'
import type { Execution, QueryHandle } from '../../query/policy-enforcer.js'
import { dialectOfClass } from '../../record/codec.js'
import { runtimeSlot } from '../../runtime.js'
import { tableOf } from '../../schema/class-statics.js'
import { idSpecOf } from '../../schema/ids.js'
import type { ModelClass } from '../../schema/model-class.js'
import { encode } from '../../schema/storage.js'
import { applyRule } from './apply-rule.js'
import { existsNow } from './existing-tables.js'
import { assertNoSilentLoss, type SilentLoss, silentLosses } from './silent-loss.js'
import { deletionRuleOf, modelsWithUserData, saysOnUserDeleted } from './user-data.js'

/** The most users that one statement may delete while models say what happens to their rows. */
const MAX_USERS = 1000

const BATCH = 500

/** The work that a deletion of users must do in its own transaction, with the models that are known now. */
interface Duties {
  readonly version: number
  /** The models that say what happens to the rows. */
  readonly ruled: readonly ModelClass[]
  readonly losses: readonly SilentLoss[]
}

const cache = runtimeSlot<{ duties: Duties | null }>(() => ({ duties: null }))

function dutiesNow(): Duties {
  const cached = cache.get()
  // The look-up may itself find further models.
  const losses = cached.duties?.version === protectionVersion() ? cached.duties.losses : silentLosses()
  const version = protectionVersion()
  if (cached.duties?.version !== version) cached.duties = { version, ruled: modelsWithUserData().filter(saysOnUserDeleted), losses }
  return cached.duties
}

const handled = new WeakMap<Execution, readonly string[]>()

addWriteCheck({
  concerns(cls, write) {
    if (write.kind !== 'delete' || !holdsUsers(cls)) return false
    const { ruled, losses } = dutiesNow()
    return ruled.length > 0 || losses.length > 0
  },

  async before(builder) {
    const users = await lockUsers(builder)
    // Users that another transaction adds to the condition in the meantime are not deleted.
    const keys = users.map((user) => user.$id() as string)
    builder.execution.ids = keys
    handled.set(builder.execution, keys)
    const { db, cls } = builder
    const { ruled, losses } = dutiesNow()
    await asSystem(async () => {
      for (const model of ruled) if (await existsNow(db, tableOf(model))) for (const user of users) await applyToAll(model, user, db)
      const spec = idSpecOf(cls)
      const ids = users.map((user) => (spec ? encode(spec, user.$id(), dialectOfClass(cls)) : user.$id()) as Knex.Value)
      if (ids.length > 0) await assertNoSilentLoss(db, ids, losses)
    })
  },

  // The rows of a user were handled before check() of a policy decided. If it kept the user, nothing may have happened to the rows.
  async after(builder) {
    const users = handled.get(builder.execution) ?? []
    if (users.length === 0) return
    const left = await asSystem(() =>
      includingDeleted(builder.query(builder.cls))
        .findByIds([...users])
        .resultSize(),
    )
    if (left > 0) throw new ForbiddenError(message('accountDeletion.notEach', { model: builder.cls.name }))
  },
})

async function lockUsers(builder: QueryHandle): Promise<readonly Model[]> {
  const { cls } = builder
  const found: unknown = await builder
    .targets('delete')
    .limit(MAX_USERS + 1)
    .forUpdate()
  const users = (Array.isArray(found) ? found : found ? [found] : []) as Model[]
  if (users.length > MAX_USERS) throw new ValidationError(message('accountDeletion.tooMany', { limit: MAX_USERS, model: cls.name }))
  return users
}

async function applyToAll(model: ModelClass, user: Model, db: Knex): Promise<void> {
  const batch = { model, rule: deletionRuleOf(model), userId: user.$id() as string, limit: BATCH, trx: db as Knex.Transaction }
  for (;;) if ((await applyRule(batch)).found < BATCH) return
}
