import { identifiersOf } from '../../../users/account/identifiers.js'
import type { User } from '../../../users/user.js'
import { defineCommand } from '../../command.js'
import { CliError } from '../../failure.js'
import { table } from '../../table.js'
import { userModelOf } from './find-user.js'

const PAGE_SIZE = 50
const MAX_PAGE_SIZE = 1000

/** `objection-perms users list` */
export const listUsers = defineCommand({
  options: {
    page: { type: 'string', value: 'NUMBER', summary: 'The page, from 1. Default: 1.' },
    'page-size': { type: 'string', value: 'NUMBER', summary: `The users on a page, at most ${MAX_PAGE_SIZE}. Default: ${PAGE_SIZE}.` },
  },
  details: ['Shows the id, the identifiers, whether the user is enabled, and the roles; a role in a domain as role@domain.'],
  example: 'npx objection-perms users list --page 2',
  async run({ options, application }) {
    const page = wholeNumber('page', options.page ?? '1', Number.MAX_SAFE_INTEGER)
    const pageSize = wholeNumber('page-size', options['page-size'] ?? String(PAGE_SIZE), MAX_PAGE_SIZE)
    const app = await application()
    const model = userModelOf(app)
    const { results, total } = await app.run(() =>
      model
        .query()
        .orderBy([model.idColumn].flat())
        .withGraphFetched('roles.domain')
        .page(page - 1, pageSize),
    )
    const names = identifiersOf(model)
    const users = results.map((user) => describe(user, names))
    const pages = Math.max(1, Math.ceil(total / pageSize))
    return {
      lines: [
        ...table([['id', ...names, 'enabled', 'roles'], ...users.map((user) => cells(user, names))]),
        '',
        `${total} ${total === 1 ? 'user' : 'users'}, page ${page} of ${pages}.`,
      ],
      json: { users, pagination: { page, pageSize, total, totalPages: pages } },
    }
  },
})

interface ListedUser {
  readonly id: unknown
  readonly isEnabled: boolean
  readonly roles: readonly { readonly role: string; readonly domain: string | null }[]
  readonly [identifier: string]: unknown
}

function describe(user: User, names: readonly string[]): ListedUser {
  const identifiers = Object.fromEntries(names.map((name) => [name, Reflect.get(user, name) ?? null]))
  const roles = (user.roles ?? []).map(({ role, domain }) => ({ role, domain: domain?.name ?? null }))
  return { id: user.id, ...identifiers, isEnabled: user.isEnabled, roles }
}

function cells(user: ListedUser, names: readonly string[]): string[] {
  const roles = user.roles.map(({ role, domain }) => (domain === null ? role : `${role}@${domain}`))
  return [String(user.id), ...names.map((name) => String(user[name] ?? '-')), user.isEnabled ? 'yes' : 'no', roles.join(', ') || '-']
}

function wholeNumber(option: string, text: string, max: number): number {
  const number = Number(text)
  if (Number.isSafeInteger(number) && number >= 1 && number <= max) return number
  throw new CliError(`--${option} ${text}: must be a whole number from 1${max < Number.MAX_SAFE_INTEGER ? ` to ${max}` : ''}.`)
}
