import { expect } from 'chai'
import { eachDatabase, sqliteAnd } from '../helpers/databases.js'
import { createProject, permsModule } from './helpers/project.js'

eachDatabase(
  'objection-perms maintain',
  (db) => {
    it('deletes old rows of the audit log, and refuses a retention that is no number', async () => {
      const project = createProject({ 'perms.js': permsModule({ database: db.name, url: db.url(), options: 'auditLog: true' }) })
      try {
        await project.run(['migrate', 'up'])
        await project.run(['create-superuser', '--email', 'ada@example.com'])
        const rows = (await db.knex('audit_log')).length
        expect(rows).to.be.above(0)
        await db.knex('audit_log').update({ created_at: db.dialect === 'sqlite' ? Date.parse('2020-01-01') : new Date('2020-01-01') })
        const wrong = await project.run(['maintain', '--audit-retention', 'long'])
        expect([wrong.code, wrong.problem]).to.deep.equal([2, '--audit-retention long: must be a whole number of days, 1 or more.'])
        expect(await db.knex('audit_log')).to.have.length(rows)
        const { code, json, stderr } = await project.run(['maintain', '--audit-retention', '30', '--json'], { ownProcess: true })
        expect(code, stderr).to.equal(0)
        expect(json).to.deep.equal({ tokens: 0, invitations: 0, passkeyChallenges: 0, providerSignIns: 0, attempts: 0, auditRows: rows })
        expect((await project.run(['maintain'])).stdout).to.equal(
          'Deleted 0 tokens, 0 invitations, 0 sign-ins with providers, 0 challenges of passkeys, 0 counts of attempts and 0 rows of the audit log.\n',
        )
      } finally {
        project.remove()
      }
    }).timeout(60_000)
  },
  sqliteAnd('pg'),
)
