import type { Knex } from 'knex'
import { BasePermsModel } from '../../../src/enforce/base-perms-model.js'
import { authenticatorOf } from '../../../src/http/caller/request-authenticator.js'
import type { HttpRequest } from '../../../src/http/core/request.js'
import type { HttpResponse } from '../../../src/http/core/response.js'
import { CrudResource } from '../../../src/http/crud/crud-resource.js'
import { createAdapter } from '../../../src/http/serve/adapter-core.js'
import { Api } from '../../../src/http/serve/api.js'
import { UserResource } from '../../../src/http/users/user-resource.js'
import { initPerms } from '../../../src/init.js'
import { createTables } from '../../../src/migrations.js'
import { HasUserMixin } from '../../../src/mixins/has-user.js'
import { allOf, anyOf, not, owner, role } from '../../../src/policy/rules.js'
import { recent } from '../../../src/policy/session-rules.js'
import { column } from '../../../src/schema/column.js'
import type { PermsOptions } from '../../../src/setup/options.js'
import type { Perms } from '../../../src/setup/perms.js'
import { testHasher } from '../../../src/testing/index.js'
import { countQueries } from '../../helpers/databases.js'
import { migrateAtOnce } from '../../helpers/library-tables-at-once.js'
import { neutralRequest, type Sending } from '../client.js'

/** Depends on grants, on their absence, and on the domains of grants. */
export class Note extends HasUserMixin(BasePermsModel).withColumns({ text: column.string({ maxLength: 100 }) }) {
  static override policy = {
    read: allOf(not(role('blocked')), anyOf(owner(), role('editor', { domain: 'any' }), role('reporter', { domain: 'press' }))),
    create: allOf(not(role('blocked')), owner()),
    update: owner(),
    delete: owner(),
  }
}

export const secret = 'a secret of this test, 32 bytes or more'

export interface Answer {
  readonly status: number
  readonly headers: object
  readonly body: string
  /** How many statements the request sent. */
  readonly statements: number
}

export type Ask = (method: string, target: string, token?: string | null, more?: Sending) => Promise<Answer>

export interface RememberedWorld {
  readonly perms: Perms
  /** Sends a request to the router alone, which may prove the caller. */
  readonly ask: Ask
  /** Sends a request whose caller was loaded before. */
  readonly askLoading: Ask
}

/** Sets up the library with resources that prove their caller, and creates the tables. */
export async function openRememberedWorld(knex: Knex, options: Partial<PermsOptions> = {}): Promise<RememberedWorld> {
  const perms = initPerms({
    knex,
    jwt: { secret },
    passwordHasher: testHasher(),
    models: [Note],
    cookies: true,
    ...options,
  })
  await migrateAtOnce(perms)
  await createTables(knex, [Note])
  return { perms, ...clients(perms) }
}

/** Returns clients of an API with notes, and of further resources. */
export function clients(perms: Perms, resources: ConstructorParameters<typeof Api>[0] = {}): { ask: Ask; askLoading: Ask } {
  const notes = new CrudResource({ model: Note, path: 'notes', include: ['user'] })
  const guarded = new CrudResource({ model: Note, path: 'guarded', methods: { list: { stepUp: recent(300) }, get: true } })
  const open = new CrudResource({ model: Note, path: 'open', methods: { list: { public: true }, get: { public: true } } })
  const ofAdmins = new CrudResource({ model: Note, path: 'for-admins', methods: { list: { adminOnly: true } } })
  const own = [notes, guarded, open, ofAdmins, new UserResource({})]
  const api = new Api({ openapi: false, docs: false, resources: [...own, ...(resources.resources ?? [])] })
  const adapter = createAdapter(perms, { onError: () => {} })
  const mounted = adapter.mount(api)
  const handle = async (request: HttpRequest) => (await mounted.handle(request)) as HttpResponse
  const load = async (request: HttpRequest) => {
    // The router meets an identified caller, and reports wrong credentials itself.
    await perms.enter(async () => await authenticatorOf(perms).identify(request)).catch(() => null)
    return await handle(request)
  }
  const asking =
    (send: (request: HttpRequest) => Promise<HttpResponse>): Ask =>
    async (method, target, token, more) => {
      const { result, statements } = await countQueries(perms.knex, () => send(neutralRequest(method, target, token, more)))
      return { status: result.status, headers: result.headers, body: String(result.body ?? ''), statements: statements.length }
    }
  return { ask: asking(handle), askLoading: asking(load) }
}

/** The ids in a list. */
export function idsIn({ body }: Answer): string[] {
  return (JSON.parse(body) as { data: { id: string }[] }).data.map(({ id }) => id).sort()
}
