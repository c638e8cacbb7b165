import { randomBytes } from 'node:crypto'
import { env } from 'node:process'
import { transaction } from '../../database/transaction.js'
import { structureOf } from '../../schema/definition/definition.js'
import { identifiersOf } from '../../users/account/identifiers.js'
import { Role } from '../../users/roles/roles.js'
import type { User } from '../../users/user.js'
import type { Application } from '../application/application.js'
import { type CommandContext, type CommandResult, defineCommand } from '../command.js'
import { CliError } from '../failure.js'
import { nameOf, userModelOf } from './users/find-user.js'

const options = {
  email: { type: 'string', value: 'ADDRESS', summary: 'The e-mail address of the user.' },
  set: { type: 'list', value: 'NAME=VALUE', summary: 'Another column of the user, such as username=ada. May be given several times.' },
  'password-stdin': { type: 'boolean', summary: 'Read the password from stdin.' },
  invite: { type: 'boolean', summary: 'Set no password, and mail a link to choose one. Needs initPerms({ mail }).' },
  existing: { type: 'boolean', summary: 'Grant the role to the user who has this address already.' },
} as const

/** `objection-perms create-superuser` */
export const createSuperuser = defineCommand({
  options,
  details: [
    'The user gets the global role superadmin. The password comes from stdin (--password-stdin) or from the environment variable',
    'SUPERUSER_PASSWORD. Otherwise a random one is created, and printed once.',
  ],
  example: 'npx objection-perms create-superuser --email admin@example.com --password-stdin < password.txt',
  run: create,
})

type Context = CommandContext<typeof options>

async function create(context: Context): Promise<CommandResult> {
  const { options: given, application } = context
  if (given.invite && given['password-stdin']) throw new CliError('--invite sets no password: leave --password-stdin out.')
  if (given.existing && (given.invite || given['password-stdin']))
    throw new CliError('--existing changes no password: leave --invite and --password-stdin out.')
  const app = await application()
  const values = valuesOf(app, given)
  const known = await existingUser(app, values)
  if (given.existing) return await promote(app, known, values)
  if (known)
    return {
      lines: [`There is a user ${nameOf(known)} already. Choose another address, or grant this user the role with --existing.`],
      json: { isCreated: false, user: { id: known.id } },
      isNegative: true,
    }
  if (given.invite) requireMail(app)
  const password = given.invite ? undefined : await passwordOf(context)
  const user = await save(app, values, password?.text)
  if (given.invite) await invite(app, user)
  return {
    lines: [
      `Created the superadmin ${nameOf(user)}.`,
      ...(password?.isGenerated
        ? [`The password is ${password.text}`, 'It is not shown again: store it, or change it after the first sign-in.']
        : []),
      ...(given.invite ? [`A link to choose a password was sent to ${user.email}.`] : []),
    ],
    json: { isCreated: true, user: { id: user.id }, ...(password?.isGenerated ? { password: password.text } : {}) },
  }
}

/** Returns the columns of the user, checked against the columns of the model. */
function valuesOf(app: Application, given: Context['options']): Record<string, unknown> {
  const model = userModelOf(app)
  const { specs } = structureOf(model)
  const pairs = [...(given.email === undefined ? [] : [['email', given.email] as const]), ...given.set.map(pairOf)]
  for (const [name] of pairs) {
    if (name === 'password') throw new CliError('--set password would show the password in the list of processes: use --password-stdin.')
    if (!specs[name]) throw new CliError(`${model.name} has no column '${name}'. Its columns are ${Object.keys(specs).join(', ')}.`)
  }
  const identifiers = identifiersOf(model)
  if (!pairs.some(([name]) => identifiers.includes(name))) {
    const options = identifiers.map((name) => (name === 'email' ? '--email ADDRESS' : `--set ${name}=VALUE`))
    throw new CliError(`create-superuser needs ${options.join(' or ')}.`)
  }
  return Object.fromEntries(pairs.map(([name, text]) => [name, typed(text, specs[name]?.type)]))
}

function pairOf(text: string): readonly [string, string] {
  const at = text.indexOf('=')
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)]
  throw new CliError(`--set ${text}: write the name and the value, such as --set username=ada.`)
}

function typed(text: string, type: string | undefined): unknown {
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true'
  if ((type === 'integer' || type === 'float') && text.trim() !== '') return Number(text)
  return text
}

async function existingUser(app: Application, values: Record<string, unknown>): Promise<User | null> {
  const model = userModelOf(app)
  for (const name of identifiersOf(model)) {
    const value = values[name]
    const user = typeof value === 'string' ? await app.run(() => model.getBy({ [name]: value })) : null
    if (user) return user
  }
  return null
}

async function promote({ run }: Application, user: User | null, values: Record<string, unknown>): Promise<CommandResult> {
  if (!user) {
    const shown = Object.values(values).join(', ')
    return { lines: [`There is no user ${shown}. Leave --existing out to create one.`], json: { user: null }, isNegative: true }
  }
  await run(() => user.grantRole(Role.SUPERADMIN))
  return { lines: [`${nameOf(user)} is a superadmin now.`], json: { isCreated: false, user: { id: user.id } } }
}

async function passwordOf({ options: given, readStdin }: Context): Promise<{ text: string; isGenerated: boolean }> {
  if (given['password-stdin']) {
    const text = (await readStdin()).replace(/\r?\n$/, '')
    if (text === '')
      throw new CliError('stdin has no password. Use `--password-stdin < FILE`, or leave the option out to get a random one.')
    return { text, isGenerated: false }
  }
  const fromEnvironment = env['SUPERUSER_PASSWORD']
  if (fromEnvironment) return { text: fromEnvironment, isGenerated: false }
  return { text: randomBytes(15).toString('base64url'), isGenerated: true }
}

async function save(app: Application, values: Record<string, unknown>, password: string | undefined): Promise<User> {
  const model = userModelOf(app)
  return await app.run(async () => {
    const draft = model.build(values)
    if (password !== undefined) await draft.setPassword(password)
    return await transaction(async () => {
      const user = await draft.save()
      await user.grantRole(Role.SUPERADMIN)
      return user
    })
  })
}

function requireMail({ perms, file }: Application): void {
  if (perms.auth.mail.isReady) return
  throw new CliError(
    `--invite sends a mail, but ${file} sets no mailer. Add initPerms({ mail: { mailer, baseUrl } }), or leave --invite out.`,
  )
}

async function invite({ perms, run }: Application, user: User): Promise<void> {
  let isFailed = false
  const stop = perms.on('mailFailed', () => {
    isFailed = true
  })
  await run(() => perms.auth.mail.requestPasswordReset(user.email))
  await perms.auth.settled(60)
  stop()
  if (!isFailed) return
  throw new CliError(
    `The superadmin ${nameOf(user)} exists, but the mailer could not send the link. Correct it, and request a password reset for this address.`,
  )
}
