import type { Knex } from 'knex'
import { asSystem } from '../../../src/policy/context.js'
import type { Domain } from '../../../src/users/domain.js'
import { User } from '../../../src/users/user.js'
import { UserRole } from '../../../src/users/user-role.js'
import type { Note } from './remembered-world.js'

/** The rows that a change concerns. */
export interface CallerState {
  /** A connection that the process does not watch, as of another process. */
  readonly elsewhere: Knex
  readonly user: User
  readonly press: Domain
  /** A note of the user. */
  readonly own: Note
  /** A note of somebody else. */
  readonly foreign: Note
}

interface Change {
  readonly prepare?: (state: CallerState) => Promise<unknown>
  readonly change: (state: CallerState) => PromiseLike<unknown>
  /** Returns the ids in the next list, or the status of its refusal. */
  readonly next: (state: CallerState) => number | string[]
  /** The status of a write before and after the change, and the kind of the written row: see `Draft`. */
  readonly writes: readonly ['plain' | 'special', before: number, after: number]
}

const minute = 60_000

export const grantRole = (user: User, role: string, domainId: string | null) =>
  asSystem(() => UserRole.create({ userId: user.id, role, domainId } as never))

export const sessionsOf = ({ elsewhere, user }: CallerState) => elsewhere('token').where('user_id', user.id)

const asEditor = ({ user, press }: CallerState) => grantRole(user, 'editor', press.id)

/** Changes of everything that a caller consists of. */
export const callerChanges: Readonly<Record<string, Change>> = {
  'a revoked session': { change: (state) => sessionsOf(state).update({ revoked: true }), next: () => 401, writes: ['plain', 201, 401] },
  'a deleted session': { change: (state) => sessionsOf(state).delete(), next: () => 401, writes: ['plain', 201, 401] },
  'a session that is over': {
    change: (state) => sessionsOf(state).update({ expires_at: new Date(Date.now() - minute) }),
    next: () => 401,
    writes: ['plain', 201, 401],
  },
  'the absolute end of a session': {
    change: (state) => sessionsOf(state).update({ ends_at: new Date(Date.now() - minute) }),
    next: () => 401,
    writes: ['plain', 201, 401],
  },
  'a session of another kind': {
    change: (state) => sessionsOf(state).update({ kind: 'custom' }),
    next: () => 401,
    writes: ['plain', 201, 401],
  },
  'a disabled user': {
    change: ({ elsewhere, user }) => elsewhere('user').where('id', user.id).update({ is_enabled: false }),
    next: () => 401,
    writes: ['plain', 201, 401],
  },
  'a deleted user': {
    change: ({ user }) => asSystem(() => User.query().deleteById(user.id)),
    next: () => 401,
    writes: ['plain', 201, 401],
  },
  'a granted role': {
    change: asEditor,
    next: ({ own, foreign }) => [own.id, foreign.id].sort(),
    writes: ['special', 403, 201],
  },
  'a role that must be absent': { change: ({ user }) => grantRole(user, 'blocked', null), next: () => [], writes: ['plain', 201, 403] },
  'a revoked role': {
    prepare: asEditor,
    change: ({ elsewhere, user }) => elsewhere('user_role').where('user_id', user.id).delete(),
    next: ({ own }) => [own.id],
    writes: ['special', 201, 403],
  },
  'another role in the same grant': {
    prepare: asEditor,
    change: ({ elsewhere, user }) =>
      elsewhere('user_role').where('user_id', user.id).update({ role: 'blocked', domain_id: null, domain_key: '*' }),
    next: () => [],
    writes: ['plain', 201, 403],
  },
  'an inactive domain': {
    prepare: asEditor,
    change: ({ elsewhere, press }) => elsewhere('domain').where('id', press.id).update({ active: false }),
    next: ({ own }) => [own.id],
    writes: ['special', 201, 403],
  },
  'a renamed domain': {
    prepare: ({ user, press }) => grantRole(user, 'reporter', press.id),
    change: ({ elsewhere, press }) => elsewhere('domain').where('id', press.id).update({ name: 'radio' }),
    next: ({ own }) => [own.id],
    writes: ['special', 201, 403],
  },
}
