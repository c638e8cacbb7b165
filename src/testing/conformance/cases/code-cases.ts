import { runAsActor } from '../../../policy/context.js'
import { type Case, noStore } from '../case.js'
import { codeMailedTo, moved, type PopulatedWorld, post, untexts } from '../feature-steps.js'

const refused = { code: 'invalid_credentials' }
/** Returns another code of six digits. */
const wrong = (code: string) => (code === '000000' ? '000001' : '000000')

/** Asks for a code that confirms bob's session. */
async function codeForBob(world: PopulatedWorld): Promise<{ sentCode: string }> {
  const actor = await world.perms.auth.authenticate(world.tokens.bob)
  await runAsActor(actor, () => world.perms.auth.codes.requestConfirmation())
  await world.perms.auth.settled()
  return { sentCode: world.mailer.codeFrom(world.mailer.last('code')) }
}

/** One-time codes by mail. */
export const codeCases: readonly Case[] = [
  post('a request for a code gives 202', 'codes/request/', { email: moved }, 202),
  post(
    'a request for a code to an unknown address gives the same 202 [promise 144]',
    'codes/request',
    { email: 'nobody@example.com' },
    202,
  ),
  ...untexts('codes/request', ['email']),
  post('a wrong code does not sign in', 'codes', codeMailedTo(moved, wrong), 401, refused),
  post(
    'a code for an unknown address gives the same 401 [promise 144]',
    'codes',
    { email: 'nobody@example.com', code: '000000' },
    401,
    refused,
  ),
  post(
    'a code signs in',
    'codes/',
    codeMailedTo(moved, (code) => `${code.slice(0, 3)} ${code.slice(3)}`),
    200,
  ),
  post('a code signs in only once [promise 142]', 'codes/', async ({ people }) => ({ email: moved, code: people.token }), 401, refused),
  post('a code of five digits gives 422', 'codes', { email: moved, code: '12345' }, 422, { fields: ['code'] }),
  post('a lifetime that clients cannot choose gives 422', 'codes', { email: moved, code: '123456', remember: true }, 422, {
    fields: ['remember'],
  }),
  ...untexts('codes', ['email', 'code']),
  post('a caller gets a code that confirms the session', 'me/confirm/code/', '', 202, { as: 'bob' }),
  post('an anonymous caller gets no code to confirm a session', 'me/confirm/code', '', 401, { code: 'unauthorized' }),
  post('a wrong sent code does not confirm a session [promise 149]', 'me/confirm', { sentCode: '000000' }, 401, {
    as: 'bob',
    ...refused,
  }),
  post('a sent code confirms a session [promise 149]', 'me/confirm/', codeForBob, 200, { as: 'bob', expect: noStore }),
]
