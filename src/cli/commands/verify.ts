import { type Verification, verify } from '../../insight/verify/verify.js'
import { defineCommand } from '../command.js'
import { CliError } from '../failure.js'
import { modelsOf } from './policies.js'

/** `objection-perms verify` */
export const verifyCommand = defineCommand({
  options: {
    tenant: { type: 'list', value: 'MODEL=COLUMN', summary: "A model's column with the tenant. Default: that of HasDomainMixin." },
    ownership: { type: 'boolean', summary: 'Treat the owner as the tenant of rows that have no other one.' },
    timeout: { type: 'string', value: 'SECONDS', summary: 'The longest time of the search. Default: 60.' },
    models: { type: 'string', value: 'FILE', summary: 'The module of the models, for the printed tests. Default: ./models.js.' },
  },
  details: [
    'The search runs in SQLite in memory; the database of the application is not used.',
    'Prints counterexamples as tests that fail. The exit code is 1 for a counterexample, and 2 if some rules could not be examined.',
  ],
  example: 'npx objection-perms verify --tenant Invoice=companyId',
  async run({ options, application, progress }) {
    const tenant = Object.fromEntries(options.tenant.map(tenantOf))
    const timeout = secondsOf(options.timeout)
    const app = await application()
    await app.perms.ready()
    const found = await progress('Searching for counterexamples', () =>
      app.run(() =>
        verify(modelsOf(app, false), {
          property: 'tenantIsolation',
          tenant,
          ownership: options.ownership,
          ...(timeout === undefined ? {} : { timeout }),
          ...(options.models === undefined ? {} : { modelsFrom: options.models }),
        }),
      ),
    )
    return {
      lines: linesOf(found),
      json: found,
      isNegative: found.outcome === 'counterexample',
      isUnknown: found.outcome === 'unknown',
    }
  },
})

function tenantOf(given: string): [string, string] {
  const [model, column] = given.split('=')
  if (model && column) return [model, column]
  throw new CliError(`--tenant ${given}: write the model and the column, such as ${given}=companyId.`)
}

function secondsOf(given: string | undefined): number | undefined {
  if (given === undefined) return undefined
  if (/^\d{1,6}$/.test(given)) return Number(given) * 1000
  throw new CliError(`--timeout ${given}: use a number of seconds.`)
}

function linesOf({ outcome, counterexamples, unknown, tenants }: Verification): string[] {
  const columns = Object.entries(tenants).map(([model, column]) => `${model}.${column}`)
  const examined =
    columns.length > 0
      ? `The tenants: ${columns.join(', ')}.`
      : 'No model has a tenant, so nothing was examined. Name the columns with --tenant.'
  const reasons = unknown.map(({ model, action, reason }) => `${model}.${action}: ${reason}`)
  if (outcome === 'pass') return ['PASS: no caller of one tenant reaches rows of another one.', examined]
  if (outcome === 'unknown') return [reasons.length > 0 ? 'UNKNOWN: these rules could not be examined.' : 'UNKNOWN:', ...reasons, examined]
  return [...counterexamples.flatMap(({ description, test }) => [`COUNTEREXAMPLE: ${description}`, '', test]), ...reasons, examined]
}
