import { defineCommand } from '../../command.js'
import { findUser, nameOf, noSuchUser, userArgument } from './find-user.js'

/** `objection-perms users sign-out` */
export const signOutUser = defineCommand({
  args: [userArgument],
  options: {},
  details: ['The sessions end at once. The user can sign in again, and API keys stay valid.'],
  example: 'npx objection-perms users sign-out ada@example.com',
  async run({ args: [given = ''], application }) {
    const app = await application()
    const user = await findUser(app, given)
    if (!user) return noSuchUser(given)
    const sessions = await app.run(() => app.perms.auth.signOutEverywhere(user))
    return {
      lines: [`${nameOf(user)} is signed out. Ended sessions: ${sessions}.`],
      json: { user: { id: user.id }, endedSessions: sessions },
    }
  },
})
