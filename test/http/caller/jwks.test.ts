import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { expect } from 'chai'
import { Api } from '../../../src/http/serve/api.js'
import { UserResource } from '../../../src/http/users/user-resource.js'
import { openZoo, type Zoo } from '../../conformance/zoo.js'
import { clientOf } from '../client.js'

const path = '/.well-known/jwks.json'
const pair = () => generateKeyPairSync('ec', { namedCurve: 'P-256' })
const [current, old] = [pair(), pair()]
const jwt = {
  keys: [
    { kid: '2', algorithm: 'ES256', privateKey: current.privateKey },
    { kid: '1', algorithm: 'ES256', publicKey: old.publicKey, retired: true },
  ],
} as const

describe('The public keys', () => {
  let zoo: Zoo
  afterEach(() => zoo.close())

  it('are served without the prefix, include retired keys, verify an access token, and contain no private key [promise 24]', async () => {
    zoo = await openZoo('better-sqlite3', { jwt })
    const ask = clientOf(new Api({ prefix: '/api', resources: [new UserResource()] }), zoo.perms)
    const { status, body, headers } = await ask('GET', path)
    expect(status).to.equal(200)
    expect(headers).to.include({ 'content-type': 'application/json; charset=utf-8', 'cache-control': 'public, max-age=300' })
    expect(body.keys.map(({ kid, alg, use }: Record<string, string>) => [kid, alg, use])).to.deep.equal([
      ['2', 'ES256', 'sig'],
      ['1', 'ES256', 'sig'],
    ])
    for (const key of body.keys) expect(key).to.have.all.keys('kty', 'crv', 'x', 'y', 'kid', 'alg', 'use')
    const [header = '', claims = '', signature = ''] = zoo.tokens.ada.split('.')
    const { kid } = JSON.parse(Buffer.from(header, 'base64url').toString())
    const key = createPublicKey({ key: body.keys.find((one: { kid: string }) => one.kid === kid), format: 'jwk' })
    const signed = Buffer.from(`${header}.${claims}`)
    expect(verify('sha256', signed, { key, dsaEncoding: 'ieee-p1363' }, Buffer.from(signature, 'base64url'))).to.equal(true)
  })

  it('are not served if a secret signs the tokens, or if `jwks` is false', async () => {
    zoo = await openZoo()
    expect(await missing(new Api({ resources: [new UserResource()] }))).to.equal(true)
    await zoo.close()
    zoo = await openZoo('better-sqlite3', { jwt })
    expect(await missing(new Api({ resources: [new UserResource()], jwks: false }))).to.equal(true)
    expect(await missing(new Api({ resources: [new UserResource()] }))).to.equal(false)
  })

  async function missing(api: Api): Promise<boolean> {
    return await clientOf(api, zoo.perms)('GET', path).then(
      () => false,
      (error: Error) => /none of the API's paths/.test(error.message),
    )
  }
})
