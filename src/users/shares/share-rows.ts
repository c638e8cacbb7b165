/** Shares rows, ends shares and lists them: `row.share()`, `row.unshare()` and `row.shares()`. */
import type { Model, TransactionOrKnex } from 'objection'
import { ConfigurationError, ForbiddenError, UniqueViolationError, ValidationError } from '../../core/errors.js'
import { assertKnownOptions } from '../../core/known-options.js'
import { message } from '../../core/messages/message.js'
import { isTransaction, rootOf, transaction, withTransaction } from '../../database/transaction.js'
import { assertMayAct, lockOrRefuse } from '../../enforce/locked-row.js'
import { registerSharing, type ShareOptions, type ShareSubject, shareOptionNames } from '../../mixins/shareable.js'
import { apiKeyAllows } from '../../policy/abilities.js'
import { isUnexpired } from '../../policy/compiler/share-table.js'
import { asSystem, authorityFor, currentActor } from '../../policy/context.js'
import { policyOf } from '../../policy/policy.js'
import { isShareable, shareRelationsOf } from '../../policy/share-relations.js'
import { assertHome } from '../../query/home.js'
import { filterReadable } from '../../query/query-builder.js'
import { dialectOfClass } from '../../record/codec.js'
import { tableOf } from '../../schema/class-statics.js'
import { classOf } from '../../schema/model-class.js'
import { forbidImpersonation } from '../caller/caller-restrictions.js'
import { RowShare } from '../row-share.js'
import { noteNewId } from './ended-rows.js'
import { expiryLimit, expiryOf, type RowKey, type ShareRight, shareRight } from './rights.js'
import { recordShare } from './share-entries.js'
import { type SubjectColumns, subjectColumns } from './subjects.js'

const MAX_ID_LENGTH = 255

/** A saved row whose model can be shared. */
interface Target {
  readonly cls: typeof Model
  readonly id: unknown
  readonly key: RowKey
}

/** Returns the columns that identify a saved row in the table of shares. @throws ConfigurationError, ValidationError */
export const shareKeyOf = (row: Model): RowKey => targetOf(row, 'shares()', undefined).key

function targetOf(row: Model, method: string, trx: TransactionOrKnex | undefined): Target {
  assertHome(row, trx)
  const cls = classOf(row)
  if (!isShareable(cls) || !('policy' in cls))
    throw new ConfigurationError(`${method}: ${cls.name} has no policy. Use PermsMixin or BasePermsModel below ShareableMixin.`)
  const id: unknown = row.$id()
  if (id === undefined || id === null) throw new ValidationError(message('row.neverSaved', { name: cls.name }))
  const rowId = String(id)
  if (rowId.length > MAX_ID_LENGTH)
    throw new ConfigurationError(`${method}: ids of ${cls.name} with more than ${MAX_ID_LENGTH} characters cannot be shared.`)
  return { cls, id, key: { rowTable: tableOf(cls), rowId } }
}

function assertRelation(cls: typeof Model, relation: unknown): asserts relation is string {
  const relations = shareRelationsOf(cls)
  if (typeof relation === 'string' && relations.includes(relation)) return
  const problem = message('field.enum', { values: relations })
  throw new ValidationError(message('input.field', { field: 'relation', problem }), [{ field: 'relation', message: problem }])
}

/** Shares a row. See Shareable.share(). */
export async function shareRow(
  row: Model,
  given: ShareSubject,
  relation: string,
  options: ShareOptions = {},
  trx?: TransactionOrKnex,
): Promise<RowShare> {
  const target = targetOf(row, 'share()', trx)
  const { cls } = target
  assertKnownOptions(options, shareOptionNames, 'share()')
  forbidImpersonation(message('subject.shares'))
  assertRelation(cls, relation)
  expiryOf(options.expiresAt, null)
  const attempt = () =>
    inRowTransaction(
      cls,
      async () => {
        const locked = await lockOrRefuse(row, 'share')
        const right = await rightOf(target)
        const expiresAt = expiryOf(options.expiresAt, expiryLimit(cls, right, relation))
        const subject = await subjectColumns(given, { isChecked: true })
        const known = await findShare(target.key, subject)
        // A more powerful share is not the caller's to replace.
        if (known && !hasExpired(known)) expiryLimit(cls, right, known.relation)
        if (known && known.relation === relation && sameTime(known.expiresAt, expiresAt)) return known
        const before = known && { relation: known.relation, expiresAt: known.expiresAt }
        const share = await write(target.key, subject, { relation, expiresAt, sharedById: currentActor()?.id ?? null }, known)
        await recordShare('rowShared', locked, share, before)
        return share
      },
      trx,
    )
  try {
    return await attempt()
  } catch (error) {
    // On SQLite, which has no row locks, another process may have shared the row meanwhile.
    if (error instanceof UniqueViolationError) return await attempt()
    throw error
  }
}

// The queries of models join the transaction, also one that the application began without the library.
async function inRowTransaction<T>(cls: typeof Model, fn: () => Promise<T>, trx: TransactionOrKnex | undefined): Promise<T> {
  const root = rootOf(cls.knex())
  const run = () => transaction(fn, { knex: root })
  return await (isTransaction(trx) ? withTransaction(trx, root, run) : run())
}

async function rightOf({ cls, id, key }: Target): Promise<ShareRight> {
  const authority = authorityFor(cls)
  return authority === 'free' ? 'all' : await shareRight(cls, id, key, authority)
}

const hasExpired = ({ expiresAt }: RowShare): boolean => expiresAt !== null && expiresAt.getTime() <= Date.now()

const sameTime = (a: Date | null, b: Date | null): boolean => (a?.getTime() ?? null) === (b?.getTime() ?? null)

const findShare = (key: RowKey, { subjectKey }: SubjectColumns): Promise<RowShare | undefined> =>
  asSystem(async () => await RowShare.query().findOne({ ...key, subjectKey }))

type Written = Pick<RowShare, 'relation' | 'expiresAt'> & { readonly sharedById: unknown }

async function write(key: RowKey, subject: SubjectColumns, values: Written, known: RowShare | undefined): Promise<RowShare> {
  return await asSystem(async () => {
    const row: object = known ? values : { ...key, ...subject, ...values }
    return known ? await known.update(row) : await RowShare.create(row)
  })
}

/** Ends a share. See Shareable.unshare(). */
export async function unshareRow(row: Model, given: ShareSubject, trx?: TransactionOrKnex): Promise<boolean> {
  const target = targetOf(row, 'unshare()', trx)
  const { cls, key } = target
  forbidImpersonation(message('subject.shares'))
  return await inRowTransaction(
    cls,
    async () => {
      const subject = await subjectColumns(given, { isChecked: false })
      const authority = authorityFor(cls)
      const isOwn = authority !== 'free' && authority !== null && subject.userId === authority.id
      if (isOwn && !apiKeyAllows('share', cls, policyOf(cls), authority))
        throw new ForbiddenError(message('row.action', { action: 'share', model: cls.name }))
      if (!isOwn) await lockOrRefuse(row, 'share')
      const known = await findShare(key, subject)
      if (!known) return false
      if (!isOwn && !hasExpired(known)) expiryLimit(cls, await rightOf(target), known.relation)
      await asSystem(() => known.delete())
      await recordShare('rowUnshared', row, known)
      return true
    },
    trx,
  )
}

/** Restricts a query of RowShare to shares that have not expired. @param cls the class of the shared rows */
export function onlyUnexpired<Q extends object>(query: Q, cls: typeof Model): Q {
  filterReadable(query, isUnexpired(tableOf(RowShare), dialectOfClass(cls)))
  return query
}

/** Returns the shares of a row. See Shareable.shares(). */
export async function sharesOfRow(row: Model, trx?: TransactionOrKnex): Promise<RowShare[]> {
  const { cls, key } = targetOf(row, 'shares()', trx)
  await assertMayAct(row, 'share', trx)
  return await asSystem(
    async () =>
      await onlyUnexpired(RowShare.query(trx).where({ ...key }), cls)
        .orderBy('createdAt')
        .orderBy('id'),
  )
}

registerSharing({ share: shareRow, unshare: unshareRow, shares: sharesOfRow, noteNewId })
