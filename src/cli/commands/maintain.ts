import type { MaintenanceOptions } from '../../auth/maintenance.js'
import { defineCommand } from '../command.js'
import { CliError } from '../failure.js'

/** `objection-perms maintain` */
export const maintain = defineCommand({
  options: {
    'audit-retention': {
      type: 'string',
      value: 'DAYS',
      summary: 'Days after which rows of the audit log are deleted. Default: the option auditRetention of initPerms().',
    },
  },
  details: [
    'Deletes expired tokens and invitations, expired sign-ins with providers and challenges of passkeys, expired counts of the throttle, old rows',
    'of the audit log, accounts whose deletion is due, and shares that have expired.',
    'Run it once a day. It deletes in small batches, and several processes may run it at the same time.',
  ],
  example: 'npx objection-perms maintain --audit-retention 365',
  async run({ options, application, progress }) {
    const retention = daysOf(options['audit-retention'])
    const { perms } = await application()
    const report = await progress('Deleting expired rows', () => perms.maintain(retention))
    const { tokens, invitations, providerSignIns, passkeyChallenges, attempts, auditRows, accounts, shares } = report
    return {
      lines: [
        `Deleted ${tokens} tokens, ${invitations} invitations, ${providerSignIns} sign-ins with providers, ${passkeyChallenges} challenges of passkeys, ` +
          `${attempts} counts of attempts and ${auditRows} rows of the audit log.`,
        ...(shares ? [`Deleted ${shares} shares that had expired, or whose rows do not exist any more.`] : []),
        ...(accounts ? [`Deleted ${accounts.deleted} accounts that were due; ${accounts.failed} could not be deleted.`] : []),
      ],
      json: report,
    }
  },
})

function daysOf(text: string | undefined): MaintenanceOptions {
  if (text === undefined) return {}
  const days = Number(text)
  if (Number.isSafeInteger(days) && days >= 1) return { auditRetention: days }
  throw new CliError(`--audit-retention ${text}: must be a whole number of days, 1 or more.`)
}
