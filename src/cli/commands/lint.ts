import type { LintFinding } from '../../insight/lint/finding.js'
import { lint } from '../../insight/lint/lint.js'
import { defineCommand } from '../command.js'
import { CliError } from '../failure.js'
import { modelsOf } from './policies.js'

/** `objection-perms lint` */
export const lintCommand = defineCommand({
  options: {
    'max-warnings': { type: 'string', value: 'NUMBER', summary: 'The warnings with which the exit code is still 0. Default: 0.' },
    all: { type: 'boolean', summary: "Include the library's own models." },
  },
  details: [
    'It reads the policies, and the indexes and granted roles of the database. It changes nothing.',
    'The exit code is 1 for errors, and for more warnings than --max-warnings. Acknowledge a finding in the model: static lint.',
  ],
  example: 'npx objection-perms lint',
  async run({ options, application, progress }) {
    const limit = limitOf(options['max-warnings'])
    const app = await application()
    await app.perms.ready()
    const findings = await progress('Examining the policies', () => app.run(() => lint(modelsOf(app, options.all))))
    const count = (severity: LintFinding['severity']) => findings.filter((one) => one.severity === severity).length
    const [errors, warnings] = [count('error'), count('warning')]
    const summary =
      findings.length === 0 ? 'Nothing found.' : `Errors: ${errors}. Warnings: ${warnings}. For information: ${count('info')}.`
    return {
      lines: [...findings.flatMap(linesOf), ...(findings.length > 0 ? [''] : []), summary],
      json: { findings, errors, warnings },
      isNegative: errors > 0 || warnings > limit,
    }
  },
})

function limitOf(given: string | undefined): number {
  if (given === undefined) return 0
  if (/^\d{1,6}$/.test(given)) return Number(given)
  throw new CliError(`--max-warnings ${given}: use a number, 0 or more.`)
}

function linesOf({ severity, code, model, action, leaf, reason, fix }: LintFinding): string[] {
  const place = [model, ...(action === null ? [] : [action])].join('.')
  const part = leaf === null ? [] : [`  ${leaf.path}: ${leaf.words}`]
  return [`${severity}: ${place} (${code})`, ...part, `  ${reason}`, `  ${fix}`]
}
