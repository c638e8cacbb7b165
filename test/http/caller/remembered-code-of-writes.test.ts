import { expect } from 'chai'
import type { QueryContext } from 'objection'
import { proving } from '../../../src/http/core/proving-endpoints.js'
import { Resource } from '../../../src/http/core/resource.js'
import { CrudResource } from '../../../src/http/crud/crud-resource.js'
import { asSystem, currentUserId } from '../../../src/policy/context.js'
import { allOf, check, owner, type Policy } from '../../../src/policy/rules.js'
import { column } from '../../../src/schema/column.js'
import { type SignedInAs, signInAs } from '../../../src/testing/index.js'
import { eachDatabase } from '../../helpers/databases.js'
import { type Ask, clients, Note, openRememberedWorld, type RememberedWorld } from './remembered-world.js'

/** The callers that code of the application has seen. */
const seen: unknown[] = []
const see = <T>(value: T): T => {
  seen.push(currentUserId())
  return value
}

class WithBeforeInsert extends Note {
  static override tableName = 'note'
  override $beforeInsert(context: QueryContext) {
    return see(super.$beforeInsert(context))
  }
}
class WithStaticHook extends Note {
  static override tableName = 'note'
  static override beforeInsert() {
    see(undefined)
  }
}
class WithBeforeValidate extends Note {
  static override tableName = 'note'
  override $beforeValidate(...[schema]: Parameters<Note['$beforeValidate']>) {
    return see(schema)
  }
}
class WithParseJson extends Note {
  static override tableName = 'note'
  override $parseJson(...args: Parameters<Note['$parseJson']>) {
    return see(super.$parseJson(...args))
  }
}
class WithFormat extends Note {
  static override tableName = 'note'
  override $formatDatabaseJson(...args: Parameters<Note['$formatDatabaseJson']>) {
    return see(super.$formatDatabaseJson(...args))
  }
}
class WithSave extends Note {
  static override tableName = 'note'
  override async save(...args: Parameters<Note['save']>): Promise<this> {
    return see(await super.save(...args))
  }
}
class WithFromJson extends Note {
  static override tableName = 'note'
  static override fromJson(...args: [never]): never {
    return see(super.fromJson(...args)) as never
  }
}
class WithValidator extends Note {
  static override tableName = 'note'
  static override createValidator() {
    const validator = super.createValidator()
    const { validate } = validator
    validator.validate = (...args) => see(validate.apply(validator, args))
    return validator
  }
}
class WithField extends Note {
  static override tableName = 'note'
  declare $afterValidate: Note['$afterValidate']
  constructor() {
    super()
    Object.defineProperty(this, '$afterValidate', { value: () => see(undefined), enumerable: true })
  }
}
class WithDefault extends Note.withColumns({ text: column.string().default(() => see('made')) }) {
  static override tableName = 'note'
}
const policyWithCode: Policy = {
  ...Note.policy,
  create: allOf(
    owner(),
    check(() => see(true)),
  ),
}
class WithCheck extends Note {
  static override tableName = 'note'
  static override policy = policyWithCode as never
}
const complete = (Note.prototype as unknown as { $complete(): void }).$complete
class WithComplete extends Note {
  static override tableName = 'note'
  $complete(): void {
    see(complete.call(this))
  }
}

class WithSetter extends Note {
  static override tableName = 'note'
}
Object.defineProperty(WithSetter.prototype, 'text', {
  set(value: string) {
    Object.defineProperty(this, 'text', { value: see(value), enumerable: true, writable: true })
  },
})
class WithMappers extends Note {
  static override tableName = 'note'
  static override columnNameMappers = { parse: (row: object) => row, format: (row: object) => see(row) }
}

const models = {
  WithBeforeInsert,
  WithStaticHook,
  WithBeforeValidate,
  WithParseJson,
  WithFormat,
  WithSave,
  WithFromJson,
  WithValidator,
  WithField,
  WithSetter,
  WithMappers,
  WithDefault,
  WithCheck,
  WithComplete,
}

class OwnNotes extends CrudResource<typeof Note> {
  protected override refuseCreate(): void {
    see(super.refuseCreate())
  }
}

const unproven = new Resource({ path: 'unproven' })
unproven.endpoint({
  method: 'POST',
  path: '',
  readsBody: false,
  load: proving(async () => ({ row: undefined, parents: [] })),
  handler: () => see(undefined),
})

const creating = [
  ...Object.entries(models).map(([path, model]) => new CrudResource({ model, path })),
  new CrudResource({ model: Note, path: 'before', hooks: { beforeCreate: () => see(undefined) } }),
  new CrudResource({ model: Note, path: 'after', hooks: { afterCreate: () => see(undefined) } }),
  new OwnNotes({ model: Note, path: 'own' }),
]

eachDatabase('code of the application, at a write of a remembered caller', (db) => {
  let world: RememberedWorld
  let ask: Ask
  let me: SignedInAs
  before(async function () {
    this.timeout(30_000)
    world = await openRememberedWorld(db.knex)
    ask = clients(world.perms, { resources: [...creating, unproven] }).ask
    me = await signInAs()
    await asSystem(() => Note.create({ text: 'mine', userId: me.user.id }))
  })
  after(() => world.perms.close())
  const warm = async () => {
    await world.ask('GET', '/notes/', me.accessToken)
    expect((await world.ask('GET', '/notes/', me.accessToken)).statements).to.equal(1)
  }

  for (const { path } of creating.map(({ options }) => options))
    it(`runs with a loaded caller only: ${path} [promise 228]`, async () => {
      const body = path === 'WithDefault' ? {} : { text: 'new' }
      const create = () => ask('POST', `/${path}/`, me.accessToken, { body })
      await warm()
      seen.length = 0
      await db.knex('token').where('user_id', me.user.id).update({ revoked: true })
      expect((await create()).status).to.equal(401)
      expect(seen).to.deep.equal([])
      await db.knex('token').where('user_id', me.user.id).update({ revoked: false })
      await warm()
      for (let i = 0; i < 3; i += 1) {
        const { status, statements } = await create()
        expect([status, statements > 1], 'its status, and whether it loads the caller').to.deep.equal([201, true])
      }
      expect(new Set(seen)).to.deep.equal(new Set([me.user.id]))
    })

  it('runs after a load() that has not proven the caller only once that is loaded [promise 228]', async () => {
    await warm()
    seen.length = 0
    await db.knex('token').where('user_id', me.user.id).update({ revoked: true })
    expect((await ask('POST', '/unproven/', me.accessToken)).status).to.equal(401)
    await db.knex('token').where('user_id', me.user.id).update({ revoked: false })
    expect(seen).to.deep.equal([])
    expect((await ask('POST', '/unproven/', me.accessToken)).status).to.equal(204)
    expect(seen).to.deep.equal([me.user.id])
  })

  it('is none of an ordinary model: its create is one statement [promise 82]', async () => {
    await ask('GET', '/notes/', me.accessToken)
    await ask('GET', '/notes/', me.accessToken)
    expect(await ask('POST', '/notes/', me.accessToken, { body: { text: 'new' } })).to.include({ status: 201, statements: 1 })
  })
})
