import { expect } from 'chai'
import type { Knex } from 'knex'
import objection, { type ColumnNameMappers, knexSnakeCaseMappers, snakeCaseMappers } from 'objection'
import { throttleTable } from '../../src/auth/throttle/throttle-store.js'
import { createTablesFromSpecs } from '../../src/database/tables/tables.js'
import { CrudResource } from '../../src/http/crud/crud-resource.js'
import { Api } from '../../src/http/serve/api.js'
import {
  asAnonymous,
  asSystem,
  BasePermsModel,
  belongsTo,
  column,
  createTables,
  Domain,
  everyone,
  hasMany,
  initPerms,
  type Perms,
  role,
  runAs,
  SecondFactor,
  Token,
  User,
  UserRole,
  UserSetting,
  where,
} from '../../src/index.js'
import { testHasher } from '../../src/testing/hasher.js'
import { eachDatabase } from '../helpers/databases.js'
import { clientOf } from '../http/client.js'

const open = { read: everyone(), create: everyone(), update: everyone(), delete: everyone() }
const columns = {
  taxID: column.string().hidden(),
  bankIBAN: column.string().readableBy(role('admin')),
  line1: column.string().hidden(),
  address2Line: column.string().readableBy(role('admin')),
  pinCODEOld: column.json<object>().nullable().hidden(),
  isVIP: column.boolean().default(false),
  visits: column.bigint().default('0'),
  aB: column.string().nullable().hidden(),
}

/** Classes of their own for each mapping, with or without the model's own mappers. */
function modelsWith(mappers: ColumnNameMappers | undefined) {
  class Firm extends BasePermsModel.withColumns(columns) {
    static override relationMappings = { sites: hasMany(() => Site, 'firmID') }
    static override policy = { ...open, read: where({ isVIP: [true, false] }), update: where({ line1: { ne: 'locked' } }) }
  }
  class Site extends BasePermsModel.withColumns({ firmID: column.uuid().references('firm.id'), doorPIN: column.string().hidden() }) {
    static override relationMappings = { firm: belongsTo(() => Firm, 'firmID') }
    static override policy = open
  }
  if (mappers) for (const cls of [Firm, Site]) Object.assign(cls, { columnNameMappers: mappers })
  return { Firm, Site }
}

// Exported, and missing in Objection's types.
const { knexIdentifierMapping } = objection as unknown as { knexIdentifierMapping(map: Record<string, string>): Partial<Knex.Config> }

const upperCase = { upperCase: true }
const digits = { underscoreBeforeDigits: true }
const letters = { underscoreBetweenUppercaseLetters: true }
const instances: Record<string, Partial<Knex.Config>> = {
  'no mapping': {},
  'knexSnakeCaseMappers()': knexSnakeCaseMappers(),
  'knexSnakeCaseMappers() with underscores before digits': knexSnakeCaseMappers(digits),
  'knexSnakeCaseMappers() with underscores between letters': knexSnakeCaseMappers(letters),
  'knexSnakeCaseMappers() in upper case': knexSnakeCaseMappers(upperCase),
  'knexIdentifierMapping()': knexIdentifierMapping({ xtax: 'tax_id', xiban: 'bank_iban', xline: 'line1', xid: 'id' }),
  'a postProcessResponse of its own alone': {
    postProcessResponse: (result: unknown) => {
      const mapped = (row: unknown) =>
        typeof row === 'object' && row !== null && !Array.isArray(row) && Object.getPrototypeOf(row) !== Date.prototype
          ? Object.fromEntries(
              Object.entries(row).map(([key, value]) => [key.replace(/[^:]*$/, (last) => last.replaceAll('_', '').toUpperCase()), value]),
            )
          : row
      return Array.isArray(result) ? result.map(mapped) : mapped(result)
    },
  },
}
const modelMappers: Record<string, ColumnNameMappers | undefined> = {
  none: undefined,
  'snakeCaseMappers()': snakeCaseMappers(),
  'snakeCaseMappers() in upper case': snakeCaseMappers(upperCase),
  'mappers of its own': {
    parse: (row) => Object.fromEntries(Object.entries(row).map(([key, value]) => [key.toLowerCase(), value])),
    format: (row) => row,
  },
}

const secrets = ['TAX-1', 'IBAN-1', 'LINE-1', 'ADDRESS-2', 'PIN-OLD', 'DOOR-PIN', 'A-B']
const values = {
  taxID: 'TAX-1',
  bankIBAN: 'IBAN-1',
  line1: 'LINE-1',
  address2Line: 'ADDRESS-2',
  pinCODEOld: { pin: 'PIN-OLD' },
  isVIP: true,
  visits: '9007199254740993',
  aB: 'A-B',
}

for (const [instance, config] of Object.entries(instances)) {
  for (const [own, mappers] of Object.entries(modelMappers)) {
    // One instance without mappers of the models, and each of those on two instances.
    if (mappers && instance !== 'no mapping' && instance !== 'knexSnakeCaseMappers()') continue
    eachDatabase(`Columns over ${instance} of Knex, columnNameMappers: ${own}`, (db) => {
      const { Firm, Site } = modelsWith(mappers)
      let perms: Perms
      let knex: Knex
      let firm: InstanceType<typeof Firm>
      before(async function () {
        this.timeout(20_000)
        knex = db.connect(config)
        perms = initPerms({
          knex,
          passwordHasher: testHasher(),
          jwt: { secret: 'k'.repeat(48) },
          throttle: { store: 'database' },
          models: [Firm, Site],
        })
        await createTablesFromSpecs(knex, [throttleTable])
        await createTables(knex, [User, UserRole, Domain, Token, UserSetting, SecondFactor, Firm, Site])
      })
      after(async () => {
        await perms.close()
      })
      beforeEach(async () => {
        await asSystem(async () => {
          await Site.query().delete()
          await Firm.query().delete()
          firm = await Firm.create({ ...values } as never)
          await Site.create({ firmID: firm.id, doorPIN: 'DOOR-PIN' } as never)
        })
      })
      const expectNoSecret = (shown: unknown, why?: string) => {
        const text = JSON.stringify(shown)
        for (const secret of secrets) expect(text, why).not.to.contain(secret)
      }

      it('are read as they were written, by property name', async () => {
        const row = await asSystem(() => Firm.getByOr404({ taxID: 'TAX-1', line1: 'LINE-1', visits: values.visits } as never))
        for (const [name, value] of Object.entries(values)) expect((row as never)[name], name).to.deep.equal(value)
        expect(Object.keys(row).sort()).to.deep.equal([...Object.keys(values), 'id', 'createdAt', 'updatedAt'].sort())
        expect(row.createdAt).to.be.instanceOf(Date)
      })

      it('that are hidden or not readable are in no JSON, however the row was loaded [promise 43]', async () => {
        await asAnonymous(async () => {
          const ways: (() => PromiseLike<unknown>)[] = [
            () => Firm.query(),
            () => Firm.query().findById(firm.id),
            () => Firm.query().select('isVIP', 'taxID', 'bankIBAN', 'line1', 'address2Line', 'aB'),
            () => Firm.query().select('firm.*'),
            () => Firm.query().withGraphFetched('sites.firm'),
            () => Firm.query().withGraphJoined('sites.firm'),
            () => Site.query().withGraphJoined('firm'),
            () => Site.query().joinRelated('firm').select('site.*', 'firm.*'),
            () => Site.relatedQuery('firm').for(Site.query().select('id')),
            () => Firm.query().patchAndFetchById(firm.id, { isVIP: false } as never),
            () => Firm.query().insertAndFetch({ ...values, visits: '1' } as never),
            () => Firm.query().insertGraphAndFetch({ ...values, sites: [{ doorPIN: 'DOOR-PIN' }] } as never),
            ...(db.dialect === 'mysql'
              ? []
              : [
                  () =>
                    Firm.query()
                      .patch({ isVIP: true } as never)
                      .returning('*'),
                ]),
            ...(db.dialect === 'mysql'
              ? []
              : [
                  () =>
                    Firm.query()
                      .insert({ ...values } as never)
                      .returning('*'),
                ]),
            ...(db.dialect === 'pg' ? [() => Site.query().delete().returning('*')] : []),
          ]
          for (const way of ways) {
            const rows = await way()
            expect(JSON.stringify(rows), String(way)).to.contain('"')
            expectNoSecret(rows, String(way))
          }
        })
      })

      it('are written, filtered, ordered and searched by property name', async () => {
        await asSystem(async () => {
          await Firm.query()
            .where('taxID', 'TAX-1')
            .patch({ bankIBAN: 'IBAN-2', address2Line: 'ADDRESS-3' } as never)
          await Firm.create({ ...values, taxID: 'TAX-2', line1: 'LINE-2' } as never)
          const rows = await Firm.query().orderBy('taxID', 'desc').where('line1', 'like', 'LINE%').whereNotNull('address2Line')
          expect(rows.map(({ taxID, bankIBAN }) => [taxID, bankIBAN])).to.deep.equal([
            ['TAX-2', 'IBAN-1'],
            ['TAX-1', 'IBAN-2'],
          ])
          const [first] = rows
          Object.assign(first as object, { taxID: 'TAX-3' })
          await first?.save()
          expect((await Firm.getOr404((first as { id: string }).id)).taxID).to.equal('TAX-3')
          const sites = await Site.query().where('firmID', firm.id).withGraphFetched('firm')
          expect(sites.map((site) => (site as unknown as { firm: { taxID: string } }).firm.taxID)).to.deep.equal(['TAX-1'])
        })
      })

      it('are read by policies by property name [promise 43]', async () => {
        await asSystem(() => Firm.query().patch({ line1: 'locked' } as never))
        expect(await asAnonymous(() => Firm.query().patch({ isVIP: false } as never))).to.equal(0)
      })

      it('are shown, filtered and sorted over HTTP as the model declares [promise 43]', async () => {
        const methods = { list: { public: true }, get: { public: true }, create: { public: true }, update: { public: true } }
        const api = new Api({ resources: [new CrudResource({ model: Firm, path: 'firms', methods, include: ['sites'] })] })
        const ask = clientOf(api, perms as never)
        for (const target of [
          '/firms',
          `/firms/${firm.id}`,
          '/firms?include=sites',
          '/firms?sort=-isVIP',
          '/firms?isVIP=true',
          '/firms?fields=isVIP,visits',
        ]) {
          const reply = await ask('GET', target)
          expect(reply.status, `${target} ${JSON.stringify(reply.body)}`).to.equal(200)
          expect(JSON.stringify(reply.body)).to.contain('"isVIP":true')
          expectNoSecret(reply.body)
        }
        for (const name of ['taxID', 'taxId', 'tax_id', 'TAX_ID', 'line1', 'line_1', 'bankIBAN', 'bankIban', 'pinCODEOld', 'pinCodeold']) {
          for (const query of [`${name}=TAX-1`, `sort=${name}`]) expect((await ask('GET', `/firms?${query}`)).status, query).to.equal(422)
          expectNoSecret((await ask('GET', `/firms?fields=${name}`)).body)
        }
        const made = await ask('POST', '/firms', null, { body: { isVIP: false, bankIBAN: 'IBAN-1', address2Line: 'x' } })
        expect([422, 403]).to.contain(made.status)
        expectNoSecret((await ask('PATCH', `/firms/${firm.id}`, null, { body: { visits: '5' } })).body)
      })

      it('of users, grants and sessions work as without a mapping', async () => {
        const email = `ada${Math.random()}@example.com`
        const ada = await asSystem(() => User.create({ email, password: 'correct horse battery' } as never))
        await asSystem(() => ada.grantRole('admin'))
        const { accessToken } = (await asAnonymous(() => perms.auth.signIn({ email, password: 'correct horse battery' }))) as {
          accessToken: string
        }
        const actor = await perms.authenticate(accessToken)
        expect(actor.grants.map(({ role }) => role)).to.deep.equal(['admin'])
        await runAs(ada, async () => {
          const row = await Firm.query().findById(firm.id)
          expect(JSON.parse(JSON.stringify(row)).bankIBAN).to.equal('IBAN-1')
        })
      })
    })
  }
}
