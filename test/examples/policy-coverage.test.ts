import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import Knex from 'knex'
import { asAnonymous, asSystem, initPerms, type Perms, Role, runAs } from 'objection-perms'
import { createUser, expectAllowed, expectRefused, type PolicyCoverage, policyCoverage, testHasher } from 'objection-perms/testing'
import { makeTables } from '../../examples/zoo/database.js'
import { Critter, User, UserDocument } from '../../examples/zoo/models.js'
import { startZoo, type ZooProcess } from './zoo-process.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const password = 'a password of the tests'

describe("The tests of the zoo's policies", function () {
  this.timeout(60_000)
  let folder: string
  let coverage: PolicyCoverage
  let perms: Perms
  let users: { ada: User; bob: User; admin: User }
  const knex = Knex({ client: 'sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })

  before(async () => {
    mkdirSync(join(root, '.tmp'), { recursive: true })
    folder = mkdtempSync(join(root, '.tmp', 'zoo-coverage-'))
    coverage = policyCoverage({ models: [UserDocument, Critter], folder })
    perms = initPerms({ knex, user: User, models: [UserDocument, Critter], passwordHasher: testHasher() })
    await makeTables(perms)
    users = { ada: await createUser<User>(), bob: await createUser<User>(), admin: await createUser<User>({}, { role: Role.ADMIN }) }
  })
  after(async () => {
    coverage.stop()
    await perms.close()
    await knex.destroy()
    rmSync(folder, { recursive: true, force: true })
  })

  it('let owners change their documents, and no other user', async () => {
    const document = await asSystem(() => UserDocument.create({ title: 'Diary', content: 'x', userId: users.ada.id }))
    for (const action of ['read', 'update', 'delete'] as const) {
      await expectAllowed(users.ada, action, document)
      await expectRefused(users.bob, action, document)
    }
    expect(await asAnonymous(() => UserDocument.canCreate({ title: 'a', content: 'b' }))).to.equal(false)
    expect(await runAs(users.ada, () => UserDocument.canCreate({ title: 'a', content: 'b' }))).to.equal(true)
  })

  it('let owners change their animals, other users adopt them, and admins delete them', async () => {
    const values = { name: 'Rex', species: 'dog' }
    const rex = await asSystem(() => Critter.create({ ...values, userId: users.ada.id }))
    await expectAllowed(users.ada, 'update', rex)
    await expectRefused(users.bob, 'update', rex)
    await expectAllowed(users.bob, 'adopt', rex)
    await expectRefused(users.ada, 'adopt', rex)
    await expectRefused(null, 'adopt', rex)
    await expectRefused(users.bob, 'delete', rex)
    await expectAllowed(users.admin, 'delete', rex)
    expect(await asAnonymous(() => Critter.canCreate(values))).to.equal(false)
  })

  it('show animals over HTTP, in a process of its own that adds to the coverage [promise 232]', async () => {
    const env = {
      OBJECTION_PERMS_COVERAGE: folder,
      NODE_ENV: 'test',
      JWT_SECRET: 'a secret of the tests, 32 bytes long',
      DATABASE_URL: ':memory:',
    }
    const zoo: ZooProcess = await startZoo({ ...env, ADMIN_EMAIL: 'admin@example.com', ADMIN_PASSWORD: password, PASSWORD_COST: '10' })
    try {
      const send = async (method: string, path: string, token?: string, body?: object) => {
        const headers = { 'content-type': 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) }
        const response = await fetch(`${zoo.url}/api/${path}`, { method, headers, ...(body && { body: JSON.stringify(body) }) })
        return { status: response.status, body: (await response.json()) as { id: string; access_token: string; data: unknown[] } }
      }
      const signIn = await send('POST', 'users/login/', undefined, { email: 'admin@example.com', password })
      const token = signIn.body.access_token
      const critter = await send('POST', 'critters/', token, { name: 'Rex', species: 'dog' })
      expect(critter.status).to.equal(201)
      expect((await send('PATCH', `critters/${critter.body.id}/`, token, { isAdoptable: false })).status).to.equal(200)
      expect((await send('GET', 'critters/')).body.data).to.have.length(0)
    } finally {
      await zoo.stop()
    }
    expect(coverage.report().leaves.find(({ model, action }) => model === 'Critter' && action === 'read')?.seen.false).to.be.greaterThan(0)
  })

  it('see each leaf of each rule true and false [promise 232]', async () => {
    const rex = await asSystem(() => Critter.create({ name: 'Rex', species: 'dog', isAdoptable: false, userId: users.ada.id }))
    const max = await asSystem(() => Critter.create({ name: 'Max', species: 'cat', userId: users.ada.id }))
    expect(await runAs(users.ada, () => Critter.query())).to.have.length.at.least(2)
    expect((await runAs(users.bob, () => Critter.query())).map(({ id }) => id))
      .to.include(max.id)
      .and.not.include(rex.id)
    await expectRefused(users.bob, 'adopt', rex)
    await expectRefused(users.ada, 'delete', rex)
    expect(await runAs(users.bob, () => Critter.canCreate({ name: 'a', species: 'b' }))).to.equal(true)
    coverage.expectAtLeast(100)
  })
})
