import { expect } from 'chai'
import fc from 'fast-check'
import { asSystem } from '../../../src/policy/context.js'
import { createUser, type SignedInAs, signInAs } from '../../../src/testing/index.js'
import { Domain } from '../../../src/users/domain.js'
import { UserRole } from '../../../src/users/user-role.js'
import { eachDatabase } from '../../helpers/databases.js'
import { generatedCases } from '../../helpers/repetitions.js'
import { idsIn, Note, openRememberedWorld, type RememberedWorld } from './remembered-world.js'

const requests = generatedCases(10_000, 'INTERLEAVED_REQUESTS', 20)

/** The state of a user as the test expects it. */
interface Person {
  readonly me: SignedInAs
  readonly own: string
  isSignedIn: boolean
  isEnabled: boolean
  readonly roles: Set<string>
}

/** Returns the same numbers in every run. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return Math.floor((state / 2_147_483_648) * below)
  }
}

eachDatabase(`${requests} interleaved requests of remembered callers`, (db) => {
  let world: RememberedWorld
  const people: Person[] = []
  let domain: Domain
  let isActive = true
  before(async function () {
    this.timeout(120_000)
    world = await openRememberedWorld(db.knex)
    domain = await asSystem(() => Domain.create({ name: 'press' }))
    for (let i = 0; i < Math.min(100, requests / 5); i += 1) {
      const me = await signInAs()
      const { id } = await asSystem(() => Note.create({ text: 'mine', userId: me.user.id }))
      people.push({ me, own: id, isSignedIn: true, isEnabled: true, roles: new Set() })
    }
  })
  after(() => world.perms.close())

  it('each obey every change that was committed before them [promise 82]', async function () {
    this.timeout(1_800_000)
    const random = randomNumbers(17)
    // Changes come from a connection that this process does not watch, and from models of this process.
    const elsewhere = db.connect()
    const flip = async (person: Person): Promise<void> => {
      const { id } = person.me.user
      const change = random(5)
      if (change === 0) {
        person.isSignedIn = !person.isSignedIn
        await elsewhere('token').where('user_id', id).update({ revoked: !person.isSignedIn })
      } else if (change === 1) {
        person.isEnabled = !person.isEnabled
        await elsewhere('user').where('id', id).update({ is_enabled: person.isEnabled })
      } else if (change === 2) {
        isActive = !isActive
        await elsewhere('domain').where('id', domain.id).update({ active: isActive })
      } else {
        const role = change === 3 ? 'blocked' : 'editor'
        const domainId = role === 'editor' ? domain.id : null
        if (person.roles.delete(role)) await elsewhere('user_role').where({ user_id: id, role }).delete()
        else {
          person.roles.add(role)
          await asSystem(() => UserRole.create({ userId: id, role, domainId } as never))
        }
      }
    }
    const everything = people.map(({ own }) => own).sort()
    const expected = ({ isSignedIn, isEnabled, roles, own }: Person): number | string[] => {
      if (!isSignedIn || !isEnabled) return 401
      if (roles.has('blocked')) return []
      return roles.has('editor') && isActive ? everything : [own]
    }
    const written = { all: 0, proven: 0 }
    const writeAs = async (person: Person, i: number): Promise<void> => {
      if (random(3) === 0) await flip(people[random(people.length)] as Person)
      const { me, isSignedIn, isEnabled, roles } = person
      const status = !isSignedIn || !isEnabled ? 401 : roles.has('blocked') ? 403 : 201
      const answer = await world.ask('POST', '/notes/', me.accessToken, { body: { text: 'new' } })
      expect(answer.status, `create ${i}`).to.equal(status)
      const stored = await elsewhere('note').where('text', 'new').delete()
      expect(stored, `rows of create ${i}`).to.equal(status === 201 ? 1 : 0)
      written.all += 1
      if (answer.statements === 1) written.proven += 1
    }
    let proven = 0
    for (let i = 0; i < requests; i += 1) {
      if (random(4) === 0) await flip(people[random(people.length)] as Person)
      // Some callers come often, so that they are remembered between changes.
      const person = people[random(random(people.length) + 1)] as Person
      const answer = await world.ask('GET', '/notes/?pageSize=100&sort=id', person.me.accessToken)
      const seen = answer.status === 200 ? idsIn(answer) : answer.status
      expect(seen, `request ${i}`).to.deep.equal(expected(person))
      if (answer.status === 200 && answer.statements === 1) proven += 1
      if (random(2) === 0) await writeAs(person, i)
    }
    expect(proven / requests, 'the share of requests with one statement').to.be.greaterThan(0.1)
    expect(written.proven / written.all, 'the share of creates with one statement').to.be.greaterThan(0.1)
  })

  it('answer like requests that load their caller: status, headers and bytes [promise 229]', async function () {
    this.timeout(600_000)
    const person = { me: await signInAs() }
    const notes = await asSystem(async () => {
      const made = []
      for (let i = 0; i < 5; i += 1) made.push(await Note.create({ text: `note ${i}`, userId: person.me.user.id }))
      return made
    })
    const foreign = await asSystem(async () => Note.create({ text: 'theirs', userId: (await createUser({})).id }))
    const { key, plain } = await asSystem(() => world.perms.auth.apiKeys.issue(person.me.user, { abilities: ['notes:read'] }))
    await elsewhereUsed(key.id)
    const paths = ['notes', 'guarded', 'open', 'for-admins']
    const ids = [...notes.map(({ id }) => id), foreign.id, 'nope', '%00', '..']
    const queries = [
      '',
      'fields=id',
      'include=user',
      'sort=-text',
      'total=false',
      'pageSize=2',
      'page=9',
      'page=x',
      'text=note 1',
      'x=1',
      'allowed=update',
    ]
    const target = fc.record({
      path: fc.constantFrom(...paths),
      id: fc.option(fc.constantFrom(...ids)),
      query: fc.array(fc.constantFrom(...queries), { maxLength: 2 }),
    })
    const header = fc.constantFrom({}, { 'if-none-match': '*' }, { 'if-match': '"x"' }, { accept: 'text/html' }, { 'x-request-id': 'r1' })
    const token = fc.constantFrom(person.me.accessToken, plain, 'nonsense', null)
    await fc.assert(
      fc.asyncProperty(fc.constantFrom('GET', 'HEAD'), target, header, token, async (method, { path, id, query }, headers, given) => {
        const text = `/${path}/${id === null ? '' : `${id}/`}?${query.join('&').replaceAll(' ', '%20')}`
        const [one, other] = [await world.ask(method, text, given, { headers }), await world.askLoading(method, text, given, { headers })]
        expect({ ...one, statements: 0 }).to.deep.equal({ ...other, statements: 0 })
      }),
      { numRuns: generatedCases(2000, 'REMEMBERED_CASES', 8), seed: 17 },
    )
  })

  async function elsewhereUsed(id: string): Promise<void> {
    await db.knex('token').where('id', id).update({ last_used_at: new Date() })
  }
})
