import { expect } from 'chai'
import { RetryableDatabaseError } from '../../src/database/errors/database-errors.js'
import {
  asSystem,
  BasePermsModel,
  column,
  createTables,
  currentUser,
  Domain,
  HasUserMixin,
  initPerms,
  type Perms,
  ProfileMixin,
  Role,
  runAs,
  TimestampMixin,
  Token,
  transaction,
  UniqueViolationError,
  User,
  UserRole,
  UserSetting,
  ValidationError,
} from '../../src/index.js'
import { countQueries, eachDatabase } from '../helpers/databases.js'
import { fieldsOf, rejection } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'
import { cheapPasswords } from '../helpers/passwords.js'

const password = 'correct horse battery'
const second = 'staple correct horse'

class Employee extends ProfileMixin(TimestampMixin(User)).withColumns({ department: column.string().default('none') }) {}
class PublicEmployee extends Employee {
  static override publicRegistration = true
}
class Badge extends HasUserMixin(BasePermsModel).withColumns({ label: column.string() }) {}

eachDatabase('Users', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({ knex: db.knex, user: Employee, models: [Badge], ...cheapPasswords(db) })
    await migrateAtOnce(perms)
    await createTables(db.knex, [Badge])
  })
  after(() => perms.close())
  beforeEach(async () => {
    for (const table of ['badge', 'user_role', 'token', 'user_setting', 'employee', 'domain']) await db.knex(table).delete()
  })

  const stored = async (id: string) => (await db.knex('employee').where({ id }).first()) as Record<string, unknown>
  const numberOf = async (table: string) => ((await db.knex(table)) as unknown[]).length

  describe('e-mail addresses', () => {
    it('have one form: trimmed, lower case, NFC [promise 11]', async () => {
      const user = await Employee.create({ email: '  Ada.LOVELACE@Example.COM ' })
      expect(user.email).to.equal('ada.lovelace@example.com')
      expect((await stored(user.id))['email']).to.equal('ada.lovelace@example.com')
      await user.update({ email: 'Jose@EXAMPLE.com' })
      expect((await stored(user.id))['email']).to.equal('jose@example.com')
      user.email = ' EVE@example.com'
      await user.save()
      expect((await stored(user.id))['email']).to.equal('eve@example.com')
      expect(user.email).to.equal('eve@example.com')
      await Employee.query().findById(user.id).patch({ email: 'BOB@example.com ' })
      expect((await stored(user.id))['email']).to.equal('bob@example.com')
      const inserted = await Employee.query().insert({ email: ' INS@example.com ' })
      expect((await stored(inserted.id))['email']).to.equal('ins@example.com')
    })

    it('are looked up in that form', async () => {
      const { id } = await Employee.create({ email: 'jose@example.com' })
      expect((await Employee.getBy({ email: ' JOSE@EXAMPLE.com ' }))?.id).to.equal(id)
      expect((await Employee.getByOr404({ email: 'Jose@example.com' })).id).to.equal(id)
      // Stored before addresses had to be ASCII.
      await db.knex('employee').where({ id }).update({ email: 'jos\u00e9@example.com' })
      expect((await Employee.getBy({ email: ' JOSE\u0301@EXAMPLE.com ' }))?.id).to.equal(id)
    })

    it('that only look like an address are refused [promise 11]', async () => {
      await Employee.create({ email: 'mike@example.com' })
      for (const email of [
        'm\u0456ke@example.com',
        'm\u0131ke@example.com',
        'mike@ex\u0430mple.com',
        'm\u00efke@example.com',
        '\uff4dike@example.com',
        'mi\u212ae@example.com',
      ]) {
        expect(await Employee.getBy({ email }), email).to.equal(null)
        expect((await rejection(Employee.create({ email }))).constructor.name, email).to.equal('ValidationError')
      }
    })

    it('that are invalid are explained in words, not as a pattern', async () => {
      for (const email of ['ada', 'ada@example', 'a b@example.com']) {
        const error = await rejection(Employee.create({ email }))
        expect((error as ValidationError).errors).to.deep.equal([{ field: 'email', message: 'must be an e-mail address' }])
      }
    })

    it('are unique in every case and form, enforced by the database [promise 11]', async () => {
      await Employee.create({ email: 'jose@example.com' })
      for (const email of ['JOSE@example.com', 'jose@EXAMPLE.com', ' Jose@example.com ']) {
        const error = await rejection(Employee.create({ email }))
        expect(error).to.be.instanceOf(UniqueViolationError)
        expect(fieldsOf(error)).to.deep.equal(['email'])
      }
      const raw = await db.knex('employee').first()
      const again = { ...raw, id: '0198c0de-0000-7000-8000-00000000000a' }
      expect(await rejection(db.knex('employee').insert(again))).to.be.instanceOf(Error)
    })

    it('registered twelve times at once succeed once and fail eleven times [promise 11]', async () => {
      const tries = await Promise.allSettled(
        Array.from({ length: 12 }, (_, i) => Employee.create({ email: i % 2 ? 'ada@example.com' : 'ADA@example.com' })),
      )
      const lost = tries.filter((one) => one.status === 'rejected')
      expect(lost).to.have.length(11)
      for (const { reason } of lost) {
        expect(reason).to.be.instanceOf(UniqueViolationError)
        expect(fieldsOf(reason)).to.deep.equal(['email'])
        expect(String(reason.message)).not.to.match(/insert|employee/i)
      }
      expect(await numberOf('employee')).to.equal(1)
    })

    for (const email of [
      '',
      'x',
      'x@',
      '@example.com',
      'x@localhost',
      'a b@example.com',
      'a@b@example.com',
      'x@example..com',
      `${'x'.repeat(250)}@example.com`,
      'a\0@example.com',
      null,
      5,
      {},
      ['a@example.com'],
    ]) {
      it(`that are invalid are refused: ${JSON.stringify(email)?.slice(0, 30)}`, async () => {
        const error = await rejection((async () => Employee.create({ email } as never))())
        expect(error).to.be.instanceOf(ValidationError)
        expect(fieldsOf(error)).to.deep.equal(['email'])
      })
    }

    it('that were changed are no longer verified [promise 7]', async () => {
      const user = await Employee.create({ email: 'ada@example.com', emailVerifiedAt: new Date(5) })
      await user.update({ email: 'ADA@example.com', department: 'x' })
      expect((await Employee.getOr404(user.id)).emailVerifiedAt).to.deep.equal(new Date(5))
      await user.update({ email: 'ada2@example.com' })
      expect(user.emailVerifiedAt).to.equal(null)
      expect((await Employee.getOr404(user.id)).emailVerifiedAt).to.equal(null)
      await user.update({ emailVerifiedAt: new Date(6) })
      user.email = 'ada3@example.com'
      await user.save()
      expect((await Employee.getOr404(user.id)).emailVerifiedAt).to.equal(null)
    })
  })

  describe('passwords', () => {
    it('given to create() are hashed and can be checked', async () => {
      const user = await Employee.create({ email: 'ada@example.com', password })
      expect(user.passwordHash).to.be.a('string').that.does.not.contain(password)
      expect((await stored(user.id))['password_hash']).to.equal(user.passwordHash)
      const read = await Employee.getOr404(user.id)
      expect(await read.isPasswordCorrect(password)).to.equal(true)
      for (const wrong of ['', ' correct horse battery', 'Correct horse battery', `${password} `, undefined, null, 5, {}]) {
        expect(await read.isPasswordCorrect(wrong as never), String(wrong)).to.equal(false)
      }
    })

    it('are set with setPassword(), saved with save()', async () => {
      const user = await Employee.create({ email: 'ada@example.com', password })
      expect(await user.setPassword(second)).to.equal(user)
      expect(await (await Employee.getOr404(user.id)).isPasswordCorrect(password)).to.equal(true)
      await user.save()
      const read = await Employee.getOr404(user.id)
      expect([await read.isPasswordCorrect(second), await read.isPasswordCorrect(password)]).to.deep.equal([true, false])
    })

    it('that are still being hashed are awaited by save() and isPasswordCorrect()', async () => {
      const user = await Employee.create({ email: 'ada@example.com' })
      void user.setPassword(password)
      await user.save()
      expect(await (await Employee.getOr404(user.id)).isPasswordCorrect(password)).to.equal(true)
      void user.setPassword(second)
      expect(await user.isPasswordCorrect(second)).to.equal(true)
      const built = Employee.build({ email: 'bob@example.com' })
      void built.setPassword(password)
      await built.save()
      expect(await (await Employee.getByOr404({ email: 'bob@example.com' })).isPasswordCorrect(password)).to.equal(true)
    })

    it('assigned as a property are hashed by save()', async () => {
      const user = Employee.build({ email: 'ada@example.com' })
      user.password = password
      expect(user.password).to.equal(undefined)
      await user.save()
      expect(await (await Employee.getOr404(user.id)).isPasswordCorrect(password)).to.equal(true)
      user.password = second
      await user.save()
      expect(await (await Employee.getOr404(user.id)).isPasswordCorrect(second)).to.equal(true)
    })

    it('given to update() replace the previous one', async () => {
      const user = await Employee.create({ email: 'ada@example.com', password })
      await user.update({ password: second, department: 'x' })
      const read = await Employee.getOr404(user.id)
      expect([await read.isPasswordCorrect(second), read.department]).to.deep.equal([true, 'x'])
      expect(await user.isPasswordCorrect(second)).to.equal(true)
    })

    it('that are refused change nothing', async () => {
      const user = await Employee.create({ email: 'ada@example.com', password })
      for (const bad of ['short', '12345678', 'ada@example.com', '', 5, null, {}, 'x'.repeat(5000)]) {
        const error = await rejection(user.update({ password: bad, department: 'changed' } as never))
        expect(fieldsOf(error), String(bad).slice(0, 20)).to.deep.equal(['password'])
      }
      expect(fieldsOf(await rejection(user.setPassword('short')))).to.deep.equal(['password'])
      expect(await user.isPasswordCorrect(password)).to.equal(true)
      expect(fieldsOf(await rejection(user.save()))).to.deep.equal(['password'])
      await user.save()
      const read = await Employee.getOr404(user.id)
      expect([await read.isPasswordCorrect(password), read.department]).to.deep.equal([true, 'none'])
      expect(fieldsOf(await rejection(Employee.create({ email: 'bob@example.com', password: 'short' })))).to.deep.equal(['password'])
      expect(await numberOf('employee')).to.equal(1)
    })

    it('that equal the new e-mail address are refused', async () => {
      const user = await Employee.create({ email: 'ada@example.com', password })
      expect(
        fieldsOf(await rejection(user.update({ email: 'new.address@example.com', password: 'new.address@example.com' }))),
      ).to.deep.equal(['password'])
    })

    it('and their hashes are in no output [promise 43]', async () => {
      const user = await Employee.create({ email: 'ada@example.com', password })
      for (const shown of [user, await Employee.getOr404(user.id), Employee.build({ email: 'x@example.com', password }), user.getClone()]) {
        expect(JSON.stringify(shown)).not.to.match(/password|\$2[aby]\$/i)
        expect(Object.keys(shown.toJSON())).not.to.include('passwordHash')
      }
      expect(Object.keys(Employee.schema.output.properties)).not.to.include.members(['password', 'passwordHash'])
      expect(fieldsOf(await rejection(Employee.createFrom({ email: 'x@example.com', passwordHash: 'x' })))).to.deep.equal(['passwordHash'])
      expect(Employee.schema.filter.properties).not.to.have.property('passwordHash')
    })

    it('are refused in queries, which cannot hash', async () => {
      const user = await Employee.create({ email: 'ada@example.com', password })
      const ways = [
        async () => Employee.query().insert({ email: 'x@example.com', password }),
        async () => Employee.query().patch({ password }),
        async () => Employee.query().findById(user.id).patch({ password }),
        async () => Employee.query().insertGraph({ email: 'x@example.com', password } as never),
        async () => user.$query().patch({ password }),
        async () => Employee.query().patchAndFetchById(user.id, { password }),
      ]
      for (const [i, way] of ways.entries()) expect(fieldsOf(await rejection(way())), `way ${i}`).to.deep.equal(['password'])
      expect(await numberOf('employee')).to.equal(1)
    })

    it('never match a user without a password', async () => {
      const user = await Employee.create({ email: 'ada@example.com' })
      expect(user.passwordHash).to.equal(null)
      expect(await user.isPasswordCorrect('')).to.equal(false)
      expect(await user.isPasswordCorrect(password)).to.equal(false)
    })

    it('that are still to be hashed are copied to a clone', async () => {
      const built = Employee.build({ email: 'ada@example.com', password })
      const copy = built.getClone()
      await copy.save()
      expect(await (await Employee.getOr404(copy.id)).isPasswordCorrect(password)).to.equal(true)
      void copy.setPassword(second)
      await copy.getClone().save()
      expect(await (await Employee.getOr404(copy.id)).isPasswordCorrect(second)).to.equal(true)
    })

    it('that are refused without an await are reported by save()', async () => {
      const user = await Employee.create({ email: 'ada@example.com', password })
      void user.setPassword('short')
      expect(fieldsOf(await rejection(user.save()))).to.deep.equal(['password'])
      user.password = 'short'
      expect(await user.isPasswordCorrect(password)).to.equal(true)
      expect(fieldsOf(await rejection(user.save()))).to.deep.equal(['password'])
      expect(await (await Employee.getOr404(user.id)).isPasswordCorrect(password)).to.equal(true)
    })

    it('that are set twice keep the last one', async () => {
      const user = await Employee.create({ email: 'ada@example.com' })
      void user.setPassword(password)
      void user.setPassword(second)
      await user.save()
      const read = await Employee.getOr404(user.id)
      expect([await read.isPasswordCorrect(second), await read.isPasswordCorrect(password)]).to.deep.equal([true, false])
    })

    it('are read from the database when the row was fetched without them', async () => {
      const user = await Employee.create({ email: 'ada@example.com', password })
      const partial = (await Employee.query().findById(user.id).select('id', 'email')) as Employee
      expect(
        fieldsOf(await runAs(user, () => rejection(partial.update({ password: second, oldPassword: 'wrong' } as never)))),
      ).to.deep.equal(['oldPassword'])
      await runAs(user, () => partial.update({ password: second, oldPassword: password } as never))
      expect(await (await Employee.getOr404(user.id)).isPasswordCorrect(second)).to.equal(true)
    })
  })

  describe('oldPassword', () => {
    let ada: Employee
    let admin: Employee
    beforeEach(async () => {
      ada = await Employee.create({ email: 'ada@example.com', password })
      admin = await Employee.create({ email: 'admin@example.com', password })
      await UserRole.create({ user: admin, role: Role.ADMIN })
    })

    for (const [what, change] of Object.entries({
      'one’s own password': { password: second },
      'one’s own e-mail address': { email: 'new@example.com' },
    })) {
      it(`is needed to change ${what}: missing and wrong are refused [promise 7]`, async () => {
        for (const row of [ada, await Employee.getOr404(ada.id)]) {
          expect(fieldsOf(await runAs(ada, () => rejection(row.update({ ...change }))))).to.deep.equal(['oldPassword'])
          expect(fieldsOf(await runAs(ada, () => rejection(row.update({ ...change, oldPassword: 'wrong one' } as never))))).to.deep.equal([
            'oldPassword',
          ])
          expect(fieldsOf(await runAs(ada, () => rejection(row.updateFrom({ ...change, oldPassword: 'wrong one' }))))).to.deep.equal([
            'oldPassword',
          ])
          expect(fieldsOf(await runAs(ada, () => rejection(row.updateFrom({ ...change }))))).to.deep.equal(['oldPassword'])
        }
        const before = await stored(ada.id)
        expect(before['email']).to.equal('ada@example.com')
        expect(await (await Employee.getOr404(ada.id)).isPasswordCorrect(password)).to.equal(true)
        await runAs(ada, () => ada.updateFrom({ ...change, oldPassword: password }))
        expect((await stored(ada.id))['updated_at']).not.to.equal(before['updated_at'])
      })
    }

    it('is required for every way to set the own password or address [promise 7]', async () => {
      await runAs(ada, async () => {
        const own = await Employee.getOr404(ada.id)
        await own.setPassword(second)
        expect(fieldsOf(await rejection(own.save()))).to.deep.equal(['oldPassword'])
        const again = await Employee.getOr404(ada.id)
        again.email = 'new@example.com'
        expect(fieldsOf(await rejection(again.save()))).to.deep.equal(['oldPassword'])
        const third = await Employee.getOr404(ada.id)
        third.password = second
        expect(fieldsOf(await rejection(third.save()))).to.deep.equal(['oldPassword'])
      })
      const now = await Employee.getOr404(ada.id)
      expect([now.email, await now.isPasswordCorrect(password)]).to.deep.equal(['ada@example.com', true])
    })

    it('is not proved by a password that is not stored yet, nor by one that was changed since [promise 7]', async () => {
      const stale = await Employee.getOr404(ada.id)
      await runAs(ada, async () => {
        const own = await Employee.getOr404(ada.id)
        await own.setPassword(second)
        expect(await own.isPasswordCorrect(second)).to.equal(true)
        expect(fieldsOf(await rejection(own.save()))).to.deep.equal(['oldPassword'])
      })
      await (await Employee.getOr404(ada.id)).update({ password: second, email: 'new@example.com' })
      for (const change of [{ password: 'a third battery' }, { email: 'third@example.com' }])
        expect(fieldsOf(await runAs(ada, () => rejection(stale.update({ ...change, oldPassword: password } as never))))).to.deep.equal([
          'oldPassword',
        ])
      // The stale row still has the old address, which is a new address for the stored row.
      expect(fieldsOf(await runAs(ada, () => rejection(stale.update({ email: 'ada@example.com' }))))).to.deep.equal(['oldPassword'])
      expect((await stored(ada.id))['email']).to.equal('new@example.com')
    })

    it('is needed only once if a deadlock repeats the transaction', async () => {
      let deadlocks = 1
      class Unlucky extends Employee {
        static override tableName = 'employee'
        static override afterUpdate(): void {
          deadlocks -= 1
          if (deadlocks >= 0) throw new RetryableDatabaseError()
        }
      }
      await runAs(ada, async () => {
        const own = await Unlucky.getOr404(ada.id)
        await own.update({ password: second, oldPassword: password } as never)
        expect(deadlocks).to.equal(-1)
        expect(await own.isPasswordCorrect(second)).to.equal(true)
        deadlocks = 1
        own.email = 'newer@example.com'
        await transaction(() => own.save())
        expect(deadlocks).to.be.lessThan(0)
      })
      expect((await stored(ada.id))['email']).to.equal('newer@example.com')
    })

    it('is not needed for the same address in another spelling, nor for anything else', async () => {
      await runAs(ada, () => ada.update({ email: 'ADA@example.com', department: 'x' }))
      expect((await Employee.getOr404(ada.id)).department).to.equal('x')
    })

    it('is refused when nothing requires it', async () => {
      expect(fieldsOf(await runAs(ada, () => rejection(ada.update({ department: 'x', oldPassword: password } as never))))).to.deep.equal([
        'oldPassword',
      ])
      expect(fieldsOf(await rejection(Employee.createFrom({ email: 'x@example.com', oldPassword: password })))).to.deep.equal([
        'oldPassword',
      ])
    })

    it('is not needed by admins for others, nor in a script', async () => {
      await runAs(admin, async () => (await Employee.getOr404(ada.id)).update({ password: second }))
      expect(await (await Employee.getOr404(ada.id)).isPasswordCorrect(second)).to.equal(true)
      await ada.update({ password })
      await asSystem(() => ada.update({ email: 'new@example.com' }))
      expect((await stored(ada.id))['email']).to.equal('new@example.com')
    })

    it('is required of admins for their own account', async () => {
      expect(fieldsOf(await runAs(admin, () => rejection(admin.update({ password: second }))))).to.deep.equal(['oldPassword'])
    })

    it('is never correct for a user without a password', async () => {
      const none = await Employee.create({ email: 'none@example.com' })
      expect(
        fieldsOf(await runAs(none, () => rejection(none.update({ email: 'n2@example.com', oldPassword: '' } as never)))),
      ).to.deep.equal(['oldPassword'])
    })

    it('may be given again after a wrong one', async () => {
      await runAs(ada, async () => {
        await rejection(ada.update({ password: second, oldPassword: 'wrong' } as never))
        await ada.update({ password: second, oldPassword: password } as never)
      })
      expect(await (await Employee.getOr404(ada.id)).isPasswordCorrect(second)).to.equal(true)
    })
  })

  describe('a changed password or address', () => {
    for (const [what, change] of Object.entries({ password: { password: second }, address: { email: 'new@example.com' } })) {
      it(`(${what}) ends the sessions but not the API keys, in the same transaction`, async () => {
        const user = await Employee.create({ email: 'ada@example.com', password })
        const other = await Employee.create({ email: 'bob@example.com', password })
        const [session, key, custom, his] = await Promise.all([
          Token.issue(user, { kind: 'session' }),
          Token.issue(user, { kind: 'api' }),
          Token.issue(user),
          Token.issue(other, { kind: 'session' }),
        ])
        await rejection(
          transaction(async () => {
            await (await Employee.getOr404(user.id)).update(change)
            throw new Error('no')
          }),
        )
        expect((await Token.getOr404(session.token.id)).revoked).to.equal(false)
        await user.update(change)
        const revoked = async (id: string) => (await Token.getOr404(id)).revoked
        expect(await Promise.all([session, key, custom, his].map(({ token }) => revoked(token.id)))).to.deep.equal([
          true,
          false,
          false,
          false,
        ])
        expect((await Token.getOr404(session.token.id)).revokedAt).to.be.instanceOf(Date)
      })
    }

    it('ends the sessions through setPassword() and save() too; other changes do not', async () => {
      const user = await Employee.create({ email: 'ada@example.com', password })
      const { token } = await Token.issue(user, { kind: 'session' })
      await user.update({ department: 'x' })
      user.department = 'y'
      await user.save()
      expect((await Token.getOr404(token.id)).revoked).to.equal(false)
      await user.setPassword(second)
      await user.save()
      expect((await Token.getOr404(token.id)).revoked).to.equal(true)
    })
  })

  it('are enabled by default, and only admins disable them', async () => {
    const user = await Employee.create({ email: 'ada@example.com', password })
    const admin = await Employee.create({ email: 'admin@example.com' })
    await UserRole.create({ user: admin, role: Role.ADMIN })
    expect(user.isEnabled).to.equal(true)
    expect(await runAs(user, () => rejection(user.updateFrom({ isEnabled: false })))).to.have.property('status', 403)
    await runAs(admin, async () => (await Employee.getOr404(user.id)).updateFrom({ isEnabled: false }))
    expect((await Employee.getOr404(user.id)).isEnabled).to.equal(false)
  })

  it('come with their roles from create(), get() and getBy(), not from a plain query()', async () => {
    const made = await Employee.create({ email: 'ada@example.com' })
    expect(made.roles).to.deep.equal([])
    await made.grantRole('editor')
    expect((await Employee.getOr404(made.id)).hasRole('editor')).to.equal(true)
    expect((await Employee.getBy({ email: 'ada@example.com' }))?.hasRole('editor')).to.equal(true)
    expect((await Employee.query().findById(made.id))?.roles).to.equal(undefined)
    expect((await Employee.query().findById(made.id).withGraphFetched('roles'))?.hasRole('editor')).to.equal(true)
  })

  it('are deleted together with all their rows [promise 55]', async () => {
    const domain = await Domain.create({ name: 'press' })
    for (const how of ['delete()', 'query().delete()', 'knex']) {
      const [user, other] = [
        await Employee.create({ email: 'ada@example.com', password }),
        await Employee.create({ email: `${how.replace(/\W/g, '')}@example.com` }),
      ]
      for (const one of [user, other]) {
        await UserRole.create({ user: one, role: 'editor' })
        await UserRole.create({ user: one, role: 'editor', domain })
        await Token.issue(one, { kind: 'session' })
        await UserSetting.create({ userId: one.id, key: 'theme', value: 'dark' })
        await Badge.create({ userId: one.id, label: 'x' })
      }
      if (how === 'delete()') await user.delete()
      else if (how === 'knex') await db.knex('employee').where({ id: user.id }).delete()
      else await Employee.query().deleteById(user.id)
      for (const [table, left] of Object.entries({ user_role: 2, token: 1, user_setting: 1, badge: 1, employee: 1 }))
        expect(await numberOf(table), `${how}: ${table}`).to.equal(left)
      await other.delete()
    }
  })

  it('of another class over the same table are the same rows', async () => {
    const made = await PublicEmployee.create({ email: 'ada@example.com', password })
    expect(PublicEmployee.tableName).to.equal('employee')
    expect((await Employee.getOr404(made.id)).email).to.equal('ada@example.com')
    await UserRole.create({ user: made, role: 'editor' })
    expect((await PublicEmployee.getOr404(made.id)).hasRole('editor')).to.equal(true)
    expect(await rejection(Employee.create({ email: 'ada@example.com' }))).to.be.instanceOf(UniqueViolationError)
  })

  it('are updated in one statement when no credential changes', async () => {
    const user = await Employee.create({ email: 'ada@example.com', password })
    const { statements } = await countQueries(db.knex, () => user.update({ department: 'x' }))
    expect(statements).to.have.length(1)
    user.department = 'y'
    const saved = await countQueries(db.knex, () => user.save())
    expect(saved.statements).to.have.length(1)
  })

  it('accept from clients what they may write, and name the refused fields [promise 42]', async () => {
    const { create, update, output } = Employee.schema
    expect(Object.keys(create.properties)).to.include.members(['email', 'password', 'isEnabled', 'department', 'firstName'])
    expect(create.required).to.deep.equal(['email'])
    expect(Object.keys(update.properties)).to.include.members(['email', 'password', 'oldPassword', 'isEnabled'])
    for (const name of ['id', 'createdAt', 'updatedAt', 'passwordHash', 'lastLoginAt', 'roles', 'tokens', 'settings']) {
      expect(fieldsOf(await rejection(Employee.createFrom({ email: 'x@example.com', [name]: [] }))), name).to.deep.equal([name])
      expect(create.properties, name).not.to.have.property(name)
      expect(update.properties, name).not.to.have.property(name)
    }
    expect(create.properties).not.to.have.property('oldPassword')
    for (const name of ['password', 'passwordHash', 'oldPassword']) expect(output.properties).not.to.have.property(name)
    expect(await numberOf('employee')).to.equal(0)
  })

  it('who are disabled are anonymous to every rule, through runAs too [promise 56]', async () => {
    const user = await Employee.create({ email: 'ada@example.com', password })
    const loaded = await Employee.getOr404(user.id)
    expect(await runAs(loaded, () => Employee.query())).to.have.length(1)
    await user.update({ isEnabled: false })
    for (const who of [loaded, user, user.id]) {
      expect(await runAs(who, () => currentUser())).to.equal(null)
      expect(await runAs(who, () => Employee.query())).to.have.length(0)
    }
    await user.delete()
    expect(await runAs(loaded, () => currentUser())).to.equal(null)
  })

  it('who are disabled during a request write nothing more [promise 56]', async () => {
    const user = await Employee.create({ email: 'ada@example.com', password })
    await runAs(user, async () => {
      await asSystem(() => user.update({ isEnabled: false }))
      expect(await rejection(user.update({ department: 'x' }))).to.have.property('status', 401)
      expect(await rejection((async () => UserSetting.create({ key: 'k', value: 1 }))())).to.have.property('status', 401)
    })
    expect(await numberOf('user_setting')).to.equal(0)
  })

  it('have settings with one JSON value for each key', async () => {
    const [ada, bob] = [await Employee.create({ email: 'ada@example.com' }), await Employee.create({ email: 'bob@example.com' })]
    const setting = await UserSetting.create({ userId: ada.id, key: 'theme', value: { dark: true } })
    await UserSetting.create({ userId: bob.id, key: 'theme', value: [1] })
    await UserSetting.create({ userId: ada.id, key: 'Theme', value: 'x' })
    const error = await rejection(UserSetting.create({ userId: ada.id, key: 'theme', value: 1 }))
    expect(error).to.be.instanceOf(UniqueViolationError)
    expect(fieldsOf(error)).to.include('key')
    await setting.update({ value: [null, 'x'] })
    expect((await UserSetting.getByOr404({ userId: ada.id, key: 'theme' })).value).to.deep.equal([null, 'x'])
    const read = await Employee.query().findById(ada.id).withGraphFetched('settings')
    expect(read?.settings?.map(({ key }) => key).sort()).to.deep.equal(['Theme', 'theme'])
    expect(await runAs(bob, () => UserSetting.query())).to.have.length(1)
  })
})
