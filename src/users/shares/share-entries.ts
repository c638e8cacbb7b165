/** The entries of the audit log for shares, in the transaction of the change. */
import type { Model } from 'objection'
import { policyFrameOf } from '../../policy/policy.js'
import { classOf, valuesByName } from '../../schema/model-class.js'
import { storeEntry } from '../audit/audited-rows.js'
import type { RowShare } from '../row-share.js'

type Terms = Pick<RowShare, 'relation' | 'expiresAt'>

const termsOf = ({ relation, expiresAt }: Terms) => ({ relation, expiresAt: expiresAt?.toISOString() ?? null })

/**
 * Stores an entry about a share, if the application has an audit log.
 *
 * @param before the relation and the expiry that the share had
 */
export async function recordShare(
  event: 'rowShared' | 'rowUnshared',
  row: Model,
  share: RowShare,
  before?: Terms | undefined,
): Promise<void> {
  const cls = classOf(row)
  const { domainField } = policyFrameOf(cls)
  await storeEntry(cls.knex(), {
    event,
    subjectId: share.userId,
    // Admins of a domain read the entries about its rows.
    domainId: domainField === undefined ? null : (valuesByName(row)[domainField] ?? null),
    rowTable: share.rowTable.slice(0, 128),
    rowId: share.rowId.slice(0, 191),
    details: {
      ...termsOf(share),
      ...(share.role !== null && { role: share.role }),
      ...(share.domainId !== null && { domainId: share.domainId }),
      ...(before && { before: termsOf(before) }),
    },
  })
}
