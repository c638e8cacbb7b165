import { expect } from 'chai'
import { Model } from 'objection'
import { createThrottle, type Limiter } from '../../src/auth/throttle/throttle.js'
import {
  BasePermsModel,
  ConfigurationError,
  column,
  everyone,
  MissingTableError,
  ServiceUnavailableError,
  type User,
} from '../../src/index.js'
import { asAnonymous, runAsActor } from '../../src/policy/context.js'
import { isForbiddenTable } from '../../src/query/inspection/protected-tables.js'
import { definitionOf } from '../../src/schema/definition/definition.js'
import { isActive, toActor } from '../../src/users/caller/actor.js'
import { createDatabase, eachDatabase, type OwnDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { Member, member, type SetUp, setUp } from './set-up.js'

describe('An unknown state', () => {
  let own: OwnDatabase
  let all: SetUp
  before(async () => {
    own = await createDatabase('better-sqlite3')
    all = await setUp(own.knex)
  })
  after(async () => {
    await all.perms.close()
    await own.destroy()
  })

  it('of a user loaded without isEnabled is "disabled", for sign-in and for every rule [promise 61]', async () => {
    const { id } = await member()
    const [part] = (await Member.query().findByIds([id]).select('id', 'email', 'passwordHash')) as unknown as [User]
    expect(isActive(part)).to.equal(false)
    part.roles = []
    class Note extends BasePermsModel.withColumns({ text: column.string() }) {
      static override policy = { read: everyone(), create: { kind: 'authenticated' } as never }
    }
    expect(await Note.canCreate({ text: 'x' }, part)).to.equal(false)
    const [whole] = (await Member.query().findByIds([id])) as unknown as [User]
    whole.roles = []
    expect(isActive(whole)).to.equal(true)
    expect(await Note.canCreate({ text: 'x' }, whole)).to.equal(true)
  })

  it('of a relation that cannot be made yet leaves no table unprotected once it can [promise 61]', async () => {
    let isReady = false
    class LateSecret extends BasePermsModel.withColumns({ text: column.string() }) {
      static override policy = {}
    }
    class EarlySecret extends BasePermsModel.withColumns({ text: column.string() }) {
      static override policy = {}
    }
    class Owner extends BasePermsModel.withColumns({ lateId: column.uuid(), earlyId: column.uuid() }) {
      static override policy = { read: everyone() }
      static override relationMappings() {
        // As in a cycle of imports, in which a class is not there yet.
        if (!isReady) throw new ReferenceError("Cannot access 'LateSecret' before initialization")
        return {
          late: { relation: Model.BelongsToOneRelation, modelClass: LateSecret, join: { from: 'owner.lateId', to: 'late_secret.id' } },
          wrong: { relation: Model.BelongsToOneRelation, modelClass: undefined as never, join: { from: 'owner.xId', to: 'x.id' } },
          early: { relation: Model.BelongsToOneRelation, modelClass: EarlySecret, join: { from: 'owner.earlyId', to: 'early_secret.id' } },
        }
      }
    }
    definitionOf(Owner)
    await asAnonymous(() => {
      expect(isForbiddenTable('late_secret')).to.equal(false)
      isReady = true
      for (const table of ['late_secret', 'early_secret']) expect(isForbiddenTable(table), table).to.equal(true)
    })
  })

  it('of a count is a refusal: no attempt passes uncounted, however the store fails [promise 61]', async () => {
    const stores: Record<string, () => Limiter> = {
      'a store that cannot be reached': () => ({ consume: async () => Promise.reject(new Error('ECONNREFUSED')) }) as never,
      'a store that throws at once': () =>
        ({
          consume: () => {
            throw new TypeError('no client')
          },
        }) as never,
      'a store that answers nothing': () => ({ consume: async () => undefined }) as never,
      'a store without its table': () => ({ consume: async () => Promise.reject(new MissingTableError('perms_throttle', 'x')) }) as never,
      'a store that is set up wrong': () => ({ consume: async () => Promise.reject(new ConfigurationError('x')) }) as never,
    }
    for (const [name, store] of Object.entries(stores)) {
      const throttle = createThrottle({ store }, { knex: own.knex, emit: () => undefined })
      const error = await rejection(throttle.begin('signIn', { account: 'ada@example.com', address: '192.0.2.1' }))
      expect(error, name).to.be.instanceOf(ServiceUnavailableError)
    }
  })

  it('of an application’s user is a refusal: a failing loadUser() admits no caller [promise 61]', async () => {
    const user = await member()
    const token = await all.auth.createAccessToken(user as unknown as User)
    const states: Record<string, () => unknown> = {
      'it throws': () => {
        throw new Error('directory is away')
      },
      'it gives nobody': () => null,
      'it gives a user without isEnabled': async () =>
        ((await Member.query().findByIds([user.id]).select('id')) as unknown as User[])[0] ?? null,
    }
    for (const [name, loadUser] of Object.entries(states))
      expect(await rejection(all.another({ loadUser: loadUser as never }).authenticate(token)), name).to.be.instanceOf(Error)
  })

  it('of the grants of a user is a refusal: roles that were not loaded are never "no roles" [promise 61]', async () => {
    const { id } = await member()
    const [bare] = (await Member.query().findByIds([id])) as unknown as [User]
    expect(() => toActor(bare)).to.throw(/roles of this user are not loaded/)
  })
})

eachDatabase('A missing table of the library', (db) => {
  let all: SetUp
  before(async () => {
    all = await setUp(db.knex)
  })
  after(() => all.perms.close())

  it('of invitations, factors or events is never treated as empty [promise 61]', async () => {
    const user = await member()
    await user.grantRole('superadmin')
    const actor = toActor((await user.loadRoles()) as unknown as User)
    for (const read of [
      () => all.auth.invitations.list(),
      () => all.auth.secondFactors.status(user as unknown as User),
      () => all.auth.invitations.accept(`in_${'x'.repeat(43)}`),
    ])
      expect(await rejection(runAsActor(actor, read as () => Promise<unknown>))).to.be.instanceOf(MissingTableError)
  })

  it('of sessions, keys or roles admits no caller [promise 61]', async () => {
    const user = await member()
    const token = await all.auth.createAccessToken(user as unknown as User)
    const { plain } = await all.auth.apiKeys.issue(user as unknown as User, { abilities: ['*'] })
    for (const table of ['token', 'user_role']) {
      await db.knex.schema.renameTable(table, 'elsewhere')
      try {
        for (const given of [token, plain]) expect(await rejection(all.auth.authenticate(given))).to.be.instanceOf(Error)
      } finally {
        await db.knex.schema.renameTable('elsewhere', table)
      }
      for (const given of [token, plain]) expect((await all.auth.authenticate(given)).id).to.equal(user.id)
    }
  })
})
