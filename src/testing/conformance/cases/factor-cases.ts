import { asSystem } from '../../../policy/context.js'
import { type Case, noStore } from '../case.js'
import { carol, carolOf, challenge, dead, moved, newPassword, nextCode, type PopulatedWorld, post, untexts } from '../feature-steps.js'
import { totpCode } from '../totp-code.js'

/** Returns the body that makes a device trusted. */
const trusting = async (world: PopulatedWorld) => ({ ...(await challenge(world)), code: await nextCode(world), trustDevice: true })

/** Returns the body of a sign-in with the token of a device. Default: a trusted one, and the right password. */
const withDevice =
  (token?: string, given = newPassword) =>
  async (world: PopulatedWorld) => {
    const deviceToken = token ?? (await trustedDevice(world)).deviceToken
    return { email: moved, password: given, deviceToken }
  }

const carolsDevice = async (world: PopulatedWorld) => {
  const [device] = await world.perms.auth.devices.list(await carolOf(world))
  return `/api/users/me/devices/${device?.id}`
}

async function trustedDevice(world: PopulatedWorld): Promise<{ deviceToken: string }> {
  const { challenge: plain } = await challenge(world)
  const result = await world.perms.auth.secondFactors.verify(plain, await nextCode(world), { trustDevice: true })
  if (result.status !== 'signedIn' || !result.deviceToken) throw new Error('The device is not trusted.')
  return { deviceToken: result.deviceToken }
}

/** The second factor. */
export const factorCases: readonly Case[] = [
  {
    title: 'the second factor is shown as absent',
    method: 'GET',
    path: '/api/users/me/second-factor/',
    token: carol,
    status: 200,
    expect: noStore,
  },
  { title: 'the second factor is not shown to an anonymous caller', method: 'GET', path: '/api/users/me/second-factor', status: 401 },
  post('beginning a second factor needs the password', 'me/second-factor', {}, 422, { token: carol, fields: ['password'] }),
  post('a second factor begins with a secret', 'me/second-factor/', { password: newPassword }, 201, { token: carol }),
  post('a wrong code does not confirm a second factor', 'me/second-factor/confirm', { code: '000000' }, 401, {
    token: carol,
    code: 'invalid_credentials',
  }),
  post(
    'a code confirms a second factor',
    'me/second-factor/confirm/',
    async (world) => {
      const user = await carolOf(world)
      const { secret } = await asSystem(() => world.perms.auth.secondFactors.begin(user, { password: newPassword }))
      world.people.secret = secret
      return { code: totpCode(secret) }
    },
    200,
    { token: carol },
  ),
  ...untexts('me/second-factor/confirm', ['code'], { token: carol }),
  post('sign-in asks for the second factor', 'login', { email: moved, password: newPassword }, 200),
  {
    title: 'the challenge of a second factor is no access token',
    method: 'GET',
    path: '/api/users/me',
    token: async (world) => (await challenge(world)).challenge,
    status: 401,
    ...dead,
  },
  post('a wrong code does not sign in', 'second-factor', async (world) => ({ ...(await challenge(world)), code: '000000' }), 401, {
    code: 'invalid_credentials',
  }),
  post('a code signs in', 'second-factor/', async (world) => ({ ...(await challenge(world)), code: await nextCode(world) }), 200),
  post(
    'a challenge is accepted only once',
    'second-factor',
    async (world) => ({ challenge: world.people.token, code: await nextCode(world) }),
    401,
    dead,
  ),
  ...untexts('second-factor', ['challenge', 'code']),
  post(
    'trustDevice must be true or false',
    'second-factor',
    async (world) => ({ ...(await challenge(world)), code: '000000', trustDevice: 'yes' }),
    422,
    { fields: ['trustDevice'] },
  ),
  post('a code signs in and makes the device trusted', 'second-factor/', trusting, 200),
  post('a device that is not trusted does not replace the second factor [promise 151]', 'login', withDevice(`td_${'0'.repeat(43)}`), 200),
  post('a trusted device replaces the second factor [promise 151]', 'login', withDevice(), 200),
  post('a trusted device does not replace the password [promise 151]', 'login', withDevice(undefined, 'wrong'), 401, {
    code: 'invalid_credentials',
  }),
  {
    title: 'trusted devices are listed',
    method: 'GET',
    path: '/api/users/me/devices/',
    token: carol,
    status: 200,
    expect: noStore,
    // It shows the client address, which not every server knows.
    own: true,
  },
  { title: 'trusted devices are not listed for an anonymous caller', method: 'GET', path: '/api/users/me/devices', status: 401 },
  { title: 'a foreign device gives 404 [promise 156]', method: 'DELETE', path: carolsDevice, as: 'bob', status: 404 },
  {
    title: 'a device is no longer trusted once it is deleted [promise 156]',
    method: 'DELETE',
    path: carolsDevice,
    token: carol,
    status: 204,
  },
  { title: 'all devices are no longer trusted', method: 'DELETE', path: '/api/users/me/devices/', token: carol, status: 204 },
  post('a code gives new recovery codes', 'me/second-factor/recovery-codes/', async (world) => ({ code: await nextCode(world) }), 200, {
    token: carol,
  }),
  ...untexts('me/second-factor/recovery-codes', ['code'], { token: carol }),
  post('a wrong code does not remove the second factor', 'me/second-factor/remove', { code: '000000' }, 401, { token: carol }),
  post('a code removes the second factor', 'me/second-factor/remove/', async (world) => ({ code: await nextCode(world) }), 204, {
    token: carol,
  }),
  post('removing an absent second factor gives 422', 'me/second-factor/remove', { code: '000000' }, 422, {
    token: carol,
    fields: ['code'],
  }),
  ...untexts('me/second-factor/remove', ['code'], { token: carol }),
]
