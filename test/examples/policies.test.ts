import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import Knex from 'knex'
import { Domain, initPerms, lint, matrix, UserRole, verify } from 'objection-perms'
import { Critter, User, UserDocument } from '../../examples/zoo/models.js'

const models = [UserDocument, Critter, User]
const file = (name: string) => fileURLToPath(new URL(`../../examples/zoo/${name}`, import.meta.url))

describe("The zoo's policies", () => {
  it('are those of the committed matrix [promise 223]', () => {
    const text = matrix(models, { title: 'Permissions of the zoo' }).toMarkdown()
    // UPDATE_DOCS=1 writes the file.
    if (process.env['UPDATE_DOCS']) writeFileSync(file('permissions.md'), text)
    expect(readFileSync(file('permissions.md'), 'utf8')).to.equal(text)
  })

  it('have no findings of lint() [promise 224]', async () => {
    expect(await lint(models)).to.deep.equal([])
  })

  it('keep tenants apart, as far as its models have any [promise 225]', async () => {
    const knex = Knex({ client: 'sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
    const perms = initPerms({ knex, user: User, models: [UserDocument, Critter] })
    try {
      const all = [...models, UserRole, Domain]
      expect(await verify(all, { property: 'tenantIsolation', tenant: { Domain: 'id', UserRole: null } })).to.deep.include({
        outcome: 'pass',
        tenants: { Domain: 'id' },
      })
      expect((await verify([UserDocument], { property: 'tenantIsolation', ownership: true })).outcome).to.equal('pass')
    } finally {
      await perms.close()
      await knex.destroy()
    }
  })
})
