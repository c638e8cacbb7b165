import { asSystem } from '../../../policy/context.js'
import { type Case, password } from '../case.js'
import { again, carol, carolOf, dead, email, mailed, moved, newPassword, post, untexts } from '../feature-steps.js'

/** Features of UserResource that send mail. */
export const mailCases: readonly Case[] = [
  // Verified addresses.
  post('a request to verify an address gives 202', 'verify-email/request/', { email }, 202),
  post('a request to verify an unknown address gives the same 202', 'verify-email/request/', { email: 'nobody@example.com' }, 202),
  ...untexts('verify-email/request', ['email']),
  post(
    'a mail token verifies an address',
    'verify-email/',
    mailed(({ perms }) => perms.auth.mail.requestVerification(email)),
    204,
  ),
  post('a mail token verifies only once', 'verify-email', again, 401, dead),
  ...untexts('verify-email', ['token']),
  // Forgotten passwords.
  post('a request to reset a password gives 202', 'reset-password/request', { email }, 202),
  post(
    'a request to reset the password of an unknown address gives the same 202',
    'reset-password/request',
    { email: 'nobody@example.com' },
    202,
  ),
  post('a request to reset a password ignores credentials', 'reset-password/request', { email }, 202, {
    headers: { authorization: 'Bearer bad' },
  }),
  ...untexts('reset-password/request', ['email']),
  post(
    'a reset refuses a weak password',
    'reset-password/',
    async (world) => ({ ...(await mailed(({ perms }) => perms.auth.mail.requestPasswordReset(email))(world)), password: 'short' }),
    422,
    { fields: ['password'] },
  ),
  post(
    'a reset with the same token works after a refused password',
    'reset-password/',
    async (world) => ({ ...(await again(world)), password: newPassword }),
    204,
  ),
  post('a mail token resets only once', 'reset-password/', async (world) => ({ ...(await again(world)), password }), 401, dead),
  post('the new password signs in', 'login', { email, password: newPassword }, 200),
  ...untexts('reset-password', ['token', 'password']),
  // Changed addresses.
  post('changing an address without a token gives 401', 'me/email', { email: 'x@example.com', oldPassword: newPassword }, 401),
  post('changing an address needs the old password', 'me/email', { email: 'x@example.com', oldPassword: 'wrong' }, 422, {
    token: carol,
    fields: ['oldPassword'],
  }),
  post('a request to change an address gives 202', 'me/email/', { email: moved, oldPassword: newPassword }, 202, { token: carol }),
  ...untexts('me/email', ['email', 'oldPassword'], { token: carol }),
  post(
    'a mail token changes an address',
    'change-email/',
    mailed((world) =>
      asSystem(async () => world.perms.auth.mail.requestEmailChange(await carolOf(world), { email: moved, oldPassword: newPassword })),
    ),
    204,
  ),
  post('a mail token changes an address only once', 'change-email/', again, 401, dead),
  ...untexts('change-email', ['token']),
  // Magic links.
  post('a request for a magic link gives 202', 'magic-link/request/', { email: moved }, 202),
  ...untexts('magic-link/request', ['email']),
  post(
    'a magic link signs in',
    'magic-link/',
    mailed(({ perms }) => perms.auth.mail.requestMagicLink(moved)),
    200,
  ),
  post('a magic link signs in only once', 'magic-link/', again, 401, dead),
  ...untexts('magic-link', ['token']),
]
