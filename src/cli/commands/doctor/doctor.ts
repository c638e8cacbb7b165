import { readSchema } from '../../../database/catalogue/read-schema.js'
import { declaredTables } from '../../../migrate/declared-tables.js'
import { dialectOf } from '../../../schema/storage.js'
import type { Application } from '../../application/application.js'
import { defineCommand } from '../../command.js'
import { firstLine } from '../../failure.js'
import { table } from '../../table.js'
import { checkClock, checkPooler, checkServer, checkSettings, databaseVersion } from './database.js'
import { type Check, type Examined, type Finding, warning } from './finding.js'
import { checkIndexes } from './indexes.js'
import { checkCopies, checkVersions, versionsOf } from './packages.js'
import { checkProxy, checkSecrets } from './security.js'
import { checkCollation, checkTables, checkTimeZones, checkUnguarded } from './tables.js'
import { checkUserRows } from './user-rows.js'

const checks: Readonly<Record<string, Check>> = {
  versions: checkVersions,
  copies: checkCopies,
  database: checkServer,
  settings: checkSettings,
  pooler: checkPooler,
  clock: checkClock,
  'time zone': checkTimeZones,
  collation: checkCollation,
  tables: checkTables,
  indexes: checkIndexes,
  unguarded: checkUnguarded,
  'user rows': checkUserRows,
  secrets: checkSecrets,
  proxy: checkProxy,
}

/** `objection-perms doctor` */
export const doctor = defineCommand({
  examinesTables: true,
  options: {},
  details: [
    'It examines versions, second copies of packages, the database, a pooler, the clocks, time zones, collations,',
    'tables that lag behind their models, missing indexes under policies, views and functions over protected tables, rows that deleting a user would destroy, secrets, cookies and',
    'proxies. It changes nothing. The exit code is 1 if there are errors.',
  ],
  example: 'npx objection-perms doctor',
  async run({ application, progress }) {
    const app = await application()
    const { versions, findings } = await progress('Examining the application', () => app.run(() => examine(app)))
    const errors = findings.filter(({ severity }) => severity === 'error').length
    return {
      lines: [
        ...table(Object.entries(versions)),
        '',
        ...findings.flatMap(linesOf),
        ...(findings.length > 0 ? [''] : []),
        findings.length === 0 ? 'Nothing found.' : `Errors: ${errors}. Warnings: ${findings.length - errors}.`,
      ],
      json: { versions, findings },
      isNegative: errors > 0,
    }
  },
})

/** Consecutive findings with the same advice show it once. */
function linesOf({ severity, check, what, advice }: Finding, at: number, all: readonly Finding[]): string[] {
  return [`${severity}: ${what} (${check})`, ...(all[at + 1]?.advice === advice ? [] : [`  ${advice}`])]
}

async function examine(app: Application): Promise<{ versions: Record<string, string>; findings: Finding[] }> {
  const { knex } = app.perms
  const declared = declaredTables(app.perms)
  const examined: Examined = {
    app,
    dialect: dialectOf(knex),
    declared,
    schema: await readSchema(knex, { tables: declared.map(({ spec }) => spec.name) }),
  }
  const findings: Finding[] = []
  for (const [name, check] of Object.entries(checks)) {
    try {
      findings.push(...(await check(examined)))
    } catch (error) {
      const why = error instanceof Error ? firstLine(error) : String(error)
      findings.push(
        warning(name, `This could not be checked: ${why}`, 'Correct the cause, such as a missing privilege, and run the command again.'),
      )
    }
  }
  const order = { error: 0, warning: 1 }
  findings.sort((one, other) => order[one.severity] - order[other.severity])
  return { versions: { ...versionsOf(app.project.folder, knex), database: await databaseVersion(knex) }, findings }
}
