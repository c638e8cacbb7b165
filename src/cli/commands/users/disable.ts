import { defineCommand } from '../../command.js'
import { findUser, nameOf, noSuchUser, userArgument } from './find-user.js'

/** `objection-perms users disable` */
export const disableUser = defineCommand({
  args: [userArgument],
  options: {},
  details: ['The user cannot sign in any more. The last superadmin cannot be disabled.'],
  example: 'npx objection-perms users disable eve@example.com',
  async run({ args: [given = ''], application }) {
    const app = await application()
    // Throws without a secret, before anything is changed.
    const { auth } = app.perms
    const user = await findUser(app, given)
    if (!user) return noSuchUser(given)
    const wasEnabled = user.isEnabled
    const sessions = await app.run(async () => {
      if (wasEnabled) await user.update({ isEnabled: false })
      return await auth.signOutEverywhere(user)
    })
    return {
      lines: [`${nameOf(user)} ${wasEnabled ? 'is disabled' : 'was disabled already'}. Ended sessions: ${sessions}.`],
      json: { user: { id: user.id, isEnabled: false }, isChanged: wasEnabled, endedSessions: sessions },
    }
  },
})
