import { expect } from 'chai'
import { asSystem, Passkey } from '../../../../src/index.js'
import { eachDatabase } from '../../../helpers/databases.js'
import { type Member, member, type SetUp } from '../../set-up.js'
import { addPasskey, setUpPasskeys, signInWith, signInWithPassword } from './set-up.js'

eachDatabase('Passkeys', (db) => {
  let all: SetUp
  let user: Member
  before(async () => {
    all = await setUpPasskeys(db.knex)
  })
  after(() => all.perms.close())
  beforeEach(async () => {
    all.events.length = 0
    user = await member()
  })

  it('sign in alone, with the methods of two factors', async () => {
    const { accessToken } = await signInWithPassword(all.perms, user)
    const { soft, recoveryCodes } = await addPasskey(all.perms, accessToken)
    expect(recoveryCodes).to.have.length(10)
    const result = await signInWith(all.perms, soft)
    expect(result.user.id).to.equal(user.id)
    const actor = await all.perms.authenticate(result.accessToken)
    expect(actor.amr).to.deep.equal(['hwk', 'user', 'mfa'])
    const [row] = await asSystem(() => Passkey.query().where('userId', user.id))
    expect(row?.lastUsedAt).to.be.instanceOf(Date)
  })
})
