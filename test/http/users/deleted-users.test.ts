import { expect } from 'chai'
import { Api, asSystem, createTables, Role, SoftDeleteMixin, TimestampMixin, User, UserResource } from '../../../src/index.js'
import { createUser, signInAs } from '../../../src/testing/index.js'
import { type FullZoo, openFullZoo } from '../../conformance/full-zoo.js'
import { availableDatabases } from '../../helpers/databases.js'
import { type Client, clientOf } from '../client.js'

class Member extends SoftDeleteMixin(TimestampMixin(User)) {
  static override freesEmail: boolean | 'recoverable' = false
}

for (const name of availableDatabases) {
  describe(`Deleted users over HTTP (${name})`, function () {
    this.timeout(30_000)
    let zoo: FullZoo
    let ask: Client
    let admin: string
    before(async () => {
      zoo = await openFullZoo(name, { user: Member as never, stepUp: true })
      await createTables(zoo.perms.knex, [Member])
      ask = clientOf(new Api({ resources: [new UserResource({ deleted: true })] }), zoo.perms)
      admin = (await signInAs({}, { role: Role.ADMIN })).accessToken
    })
    after(() => zoo.close())

    const stored = async (id: string) => (await asSystem(() => Member.withDeleted().findById(id))) as Member
    async function deleted(role?: string): Promise<Member> {
      const user = await createUser<Member>({}, role === undefined ? {} : { role })
      await asSystem(() => user.delete())
      return user
    }

    it('lists and restores users for admins of a higher rank only [promise 201]', async () => {
      const [user, other, colleague] = [await deleted(), await signInAs({}), await deleted(Role.ADMIN)]
      const listed = await ask('GET', '/users/deleted?pageSize=100', admin)
      const ids = listed.body.data.map(({ id }: Member) => id)
      expect(ids).to.include(user.id).and.not.include(colleague.id)
      expect((await ask('GET', '/users/deleted', other.accessToken)).body.data).to.deep.equal([])
      expect((await ask('POST', `/users/${user.id}/restore`, other.accessToken)).status).to.equal(404)
      expect((await ask('POST', `/users/${colleague.id}/restore`, admin)).status).to.equal(404)
      expect((await ask('POST', `/users/${user.id}/restore`, admin)).status).to.equal(200)
      expect((await ask('GET', `/users/${user.id}`, admin)).status).to.equal(200)
      expect((await stored(colleague.id)).isDeleted).to.equal(true)
    })

    it('needs a recent session to restore with initPerms({ stepUp: true })', async () => {
      const user = await deleted()
      const late = await signInAs({}, { role: Role.ADMIN })
      await zoo.perms
        .knex('token')
        .where({ user_id: late.user.id })
        .update({ auth_time: new Date(0) })
      const refused = await ask('POST', `/users/${user.id}/restore`, late.accessToken)
      expect(refused.body.code).to.equal('insufficient_user_authentication')
      expect((await stored(user.id)).isDeleted).to.equal(true)
    })

    it('gives a freed address back, but never one that another account has by now [promise 203]', async () => {
      Member.freesEmail = 'recoverable'
      try {
        const user = await createUser<Member>({ email: 'kim@example.com' })
        await asSystem(() => user.delete())
        const taken = await asSystem(() => Member.create({ email: 'kim@example.com', password: 'correct horse battery' }))
        const refused = await ask('POST', `/users/${user.id}/restore`, admin)
        expect(refused.status).to.equal(409)
        expect((await stored(user.id)).isDeleted).to.equal(true)
        expect((await stored(user.id)).email).to.match(/@deleted\.invalid$/)
        expect((await stored(taken.id)).email).to.equal('kim@example.com')
        await asSystem(() => taken.update({ email: 'kim2@example.com' }))
        expect((await ask('POST', `/users/${user.id}/restore`, admin)).status).to.equal(200)
        const row = await stored(user.id)
        expect(row).to.include({ email: 'kim@example.com', isDeleted: false, emailVerifiedAt: null })
      } finally {
        Member.freesEmail = false
      }
    })
  })
}
