import { createTables } from '../../migrations.js'
import { asSystem, runAsActor } from '../../policy/context.js'
import { runAs } from '../../users/caller/actor.js'
import { Domain } from '../../users/domain.js'
import { Role } from '../../users/roles/roles.js'
import type { User } from '../../users/user.js'
import { UserRole } from '../../users/user-role.js'
import { createUser, signInAs } from '../users.js'
import { type Case, noStore, password } from './case.js'
import { totpCode } from './totp-code.js'
import { type FullWorld, Keeper, Letter, Treasure } from './world.js'

export const email = 'carol@example.com'
/** The address to which carol's account moves. */
export const moved = 'caroline@example.com'
export const newPassword = 'a wholly new password'

/** The users of the feature cases, and the tokens, keys and secrets that a case stores for later cases. */
interface People {
  readonly carol: User
  readonly superadmin: User
  /** The id of a grant in the domain 'press'. */
  readonly grantId: string
  /** The secret of carol's second factor. */
  secret: string
  /** The last token or code of a mail, or the last challenge. */
  token: string
  key: string
  keyId: string
  impersonation: string
  /** An access token of ada whose session is ten minutes old, until a case confirms it. */
  stale: string
  treasureId: string
  letterId: string
}

export interface PopulatedWorld extends FullWorld {
  readonly people: People
}

/** Adds the users of the feature cases. */
export async function populate(world: FullWorld): Promise<PopulatedWorld> {
  await createTables(world.perms.knex, [Treasure, Letter])
  const people = await asSystem(async () => {
    const { id: treasureId } = await Treasure.create({ title: 'Gold', userId: world.ids.ada })
    const { id: letterId } = await Letter.create({ text: 'Dear', userId: world.ids.ada })
    await Domain.create({ name: 'press' })
    const carol = await createUser({ email, password })
    const superadmin = await createUser({ email: 'root@example.com' }, { role: Role.SUPERADMIN })
    const { id } = await UserRole.create({ user: await createUser({ email: 'dan@example.com' }), role: 'editor', domain: 'press' })
    return { carol, superadmin, grantId: id, secret: '', token: '', key: '', keyId: '', impersonation: '', stale: '', treasureId, letterId }
  })
  return { ...world, people }
}

/** Loads carol from the database. */
export const carolOf = async (world: PopulatedWorld) => await asSystem(() => Keeper.getOr404(world.people.carol.id))
export const carol = async (world: PopulatedWorld) => (await signInAs(await carolOf(world))).accessToken
export const superadmin = async (world: PopulatedWorld) => (await signInAs(world.people.superadmin)).accessToken

/** Returns the token of the mail that a request sends, and stores it for later cases. */
export const mailed =
  (request: (world: PopulatedWorld) => Promise<unknown>) =>
  async (world: PopulatedWorld): Promise<{ token: string }> => {
    await request(world)
    await world.perms.auth.settled()
    world.people.token = world.mailer.tokenFrom(world.mailer.last())
    return { token: world.people.token }
  }

/** Returns the code that a request sends to an address, as the body of `codes/`. */
export const codeMailedTo =
  (address: string, change: (code: string) => string = (code) => code) =>
  async (world: PopulatedWorld): Promise<{ email: string; code: string }> => {
    await world.perms.auth.codes.request(address)
    await world.perms.auth.settled()
    world.people.token = world.mailer.codeFrom(world.mailer.last(address))
    return { email: address, code: change(world.people.token) }
  }

/** Returns the token that the last `mailed` request or challenge stored. */
export const again = async (world: PopulatedWorld) => ({ token: world.people.token })

export const invite = (to: string) => (world: PopulatedWorld) =>
  runAs(world.people.superadmin, () => world.perms.auth.invitations.invite({ email: to, role: 'editor', domain: 'press' }))

/** Returns a code of carol's authenticator app. Resets the last used time step, because the library accepts no code twice. */
export async function nextCode({ perms, people }: PopulatedWorld): Promise<string> {
  await perms.knex('second_factor').update({ last_step: null })
  return totpCode(people.secret)
}

/** Signs carol in with her password. @returns the challenge for the second factor */
export async function challenge({ perms, people }: PopulatedWorld): Promise<{ challenge: string }> {
  const result = await perms.auth.signIn({ email: moved, password: newPassword })
  if (result.status !== 'secondFactor') throw new Error('Sign-in did not ask for the second factor.')
  people.token = result.challenge
  return { challenge: result.challenge }
}

/** Returns an API key for documents, the same in all cases. */
export async function key({ perms, people }: PopulatedWorld): Promise<string> {
  if (people.key === '') {
    const made = await perms.auth.apiKeys.issue(people.carol, { abilities: ['documents:read'] })
    people.key = made.plain
    people.keyId = made.key.id
  }
  return people.key
}

const keyOf =
  (user: 'carol' | 'superadmin', abilities: readonly string[]) =>
  async ({ perms, people }: PopulatedWorld) =>
    (await perms.auth.apiKeys.issue(people[user], { abilities })).plain

/** Returns an access token of ada whose session was proved ten minutes ago, the same in all cases. */
export async function stale({ people }: PopulatedWorld): Promise<string> {
  const authTime = new Date(Date.now() - 600_000)
  people.stale ||= (await signInAs({ email: 'ada@example.com' }, { authTime })).accessToken
  return people.stale
}

export const treasure = async ({ people }: PopulatedWorld) => `/api/treasures/${people.treasureId}`

/** Returns an access token with which a superadmin impersonates ada. */
export async function impersonation(world: PopulatedWorld): Promise<string> {
  const { perms, people, ids } = world
  if (people.impersonation === '') {
    const actor = await perms.auth.authenticate(await superadmin(world))
    people.impersonation = (await runAsActor(actor, () => perms.auth.impersonation.start(ids.ada))).accessToken
  }
  return people.impersonation
}

export const member = async ({ people }: PopulatedWorld) => `/api/users/domains/press/members/${people.grantId}`

/** Returns a case that posts to an endpoint of the user resource. */
export const post = (title: string, path: string, body: NonNullable<Case['body']>, status: number, more: Partial<Case> = {}): Case => ({
  title,
  method: 'POST',
  path: `/api/users/${path}`,
  body,
  status,
  ...(status < 300 && { expect: noStore }),
  ...more,
})

/** Returns a case that calls a route of the application with a new API key. */
export const withKey = (
  title: string,
  path: string,
  abilities: readonly string[],
  status: number,
  { user = 'carol', ...more }: Partial<Case> & { user?: 'carol' | 'superadmin' } = {},
): Case => ({ title, method: 'GET', path, token: keyOf(user, abilities), status, ...more })

export const dead = { code: 'invalid_token' }

/** Returns cases that send values other than non-blank strings. Each must give 422 before any look-up. */
export const untexts = (path: string, fields: readonly string[], more: Partial<Case> = {}): Case[] =>
  [null, '', ' ', {}, []].map((value) =>
    post(
      `${JSON.stringify(value)} gives 422 at ${path} [promise 27]`,
      path,
      Object.fromEntries(fields.map((field) => [field, value])),
      422,
      {
        fields,
        ...more,
      },
    ),
  )
