import { whoCan } from '../../../insight/who-can.js'
import { defineCommand } from '../../command.js'
import { nameOf, userModelOf } from '../users/find-user.js'
import { actionArgument, idArgument, modelArgument, rowNamed } from './target.js'

const MOST = 1000

/** `objection-perms who-can` */
export const whoCanCommand = defineCommand({
  args: [actionArgument, modelArgument, idArgument],
  options: {},
  details: [`Lists at most ${MOST} users, in the order of their ids. It changes nothing. The exit code is 1 if nobody can.`],
  example: 'npx objection-perms who-can update Post 42',
  async run({ args: [action = '', model = '', id = ''], application }) {
    const app = await application()
    const row = await rowNamed(app, model, id)
    const users = await app.run(() =>
      whoCan(action, row)
        .orderBy([userModelOf(app).idColumn].flat())
        .limit(MOST + 1),
    )
    const shown = users.slice(0, MOST).map((user) => ({ id: user.id, name: nameOf(user) }))
    return {
      lines: [
        ...shown.map(({ name }) => name),
        ...(users.length > MOST ? [`... and others: only the first ${MOST} are listed.`] : []),
        ...(users.length === 0 ? [`No user can ${action} this ${model}.`] : []),
      ],
      json: { users: shown, isComplete: users.length <= MOST },
      isNegative: users.length === 0,
    }
  },
})
