import { expect } from 'chai'
import { fetchAdapter } from '../../../src/adapters/fetch.js'
import { tokenReader } from '../../../src/http/caller/authorization.js'
import { upgradeToken } from '../../../src/http/caller/upgrade.js'
import { ConfigurationError, currentUserId, initPerms } from '../../../src/index.js'
import { openZoo, type Zoo } from '../../conformance/zoo.js'
import { thrown } from '../../helpers/errors.js'
import { neutralRequest } from '../client.js'

const withHeader = (authorization: string) => neutralRequest('GET', '/', null, { headers: { authorization } })
const secret = 'a secret of the tests, 32 bytes long'

describe('The Authorization header', () => {
  let zoo: Zoo
  before(async () => {
    zoo = await openZoo('better-sqlite3', { jwt: { secret, schemes: ['Token', 'JWT'] } })
  })
  after(() => zoo.close())

  it('carries a token in Bearer only, unless jwt.schemes names others', () => {
    const [read, more] = [tokenReader(), tokenReader(['Token'])]
    expect(['Bearer x', 'bearer  x ', 'Token x', 'Bearers x', ''].map((header) => read(withHeader(header)))).to.deep.equal([
      'x',
      'x',
      null,
      null,
      null,
    ])
    expect(['Bearer x', 'tOkEn x', 'Tokens x', 'Token', 'Token\tx'].map((header) => more(withHeader(header)))).to.deep.equal([
      'x',
      'x',
      null,
      '',
      '',
    ])
  })

  it('never makes an anonymous caller of a bad credential in a scheme of jwt.schemes', async () => {
    const { authenticate } = fetchAdapter(zoo.perms)
    const handler = authenticate(() => Response.json({ id: currentUserId() }))
    const identify = async (authorization: string) => {
      const answer = await handler(new Request('https://example.com/', { headers: { authorization } }))
      return answer.status === 200 ? ((await answer.json()) as { id: unknown }).id : answer.status
    }
    for (const scheme of ['Bearer', 'Token', 'token', 'JWT']) {
      expect(await identify(`${scheme} ${zoo.tokens.ada}`), scheme).to.equal(zoo.ids.ada)
      for (const bad of ['bad', '', `${zoo.tokens.ada}x`, `${zoo.tokens.ada}, Bearer ${zoo.tokens.ada}`])
        expect(await identify(`${scheme} ${bad}`), `${scheme} ${bad}`).to.equal(401)
    }
  })

  it('is read in the same way for sockets', () => {
    expect(upgradeToken(withHeader('Token x'), tokenReader(['token']), undefined)).to.equal('x')
    expect(upgradeToken(withHeader('Token'), tokenReader(['token']), undefined)).to.equal('')
    expect(upgradeToken(withHeader('Token x'), tokenReader(), undefined)).to.equal(null)
  })

  it('cannot carry tokens in a scheme of passwords, or in a name that is not a scheme', () => {
    for (const schemes of [['Basic'], ['digest'], ['Token '], [''], ['a,b'], 'Token', [7]]) {
      const error = thrown(() => initPerms({ knex: zoo.perms.knex, jwt: { secret, schemes: schemes as string[] } }))
      expect(error, JSON.stringify(schemes)).to.be.instanceOf(ConfigurationError)
      expect((error as Error).message).to.contain('initPerms({ jwt: { schemes:')
    }
  })
})
