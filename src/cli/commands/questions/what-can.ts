import { whatCan } from '../../../insight/what-can.js'
import { defineCommand } from '../../command.js'
import { table } from '../../table.js'
import { modelsOf } from '../policies.js'
import { callerArgument, callerNamed } from './target.js'

/** `objection-perms what-can` */
export const whatCanCommand = defineCommand({
  args: [callerArgument],
  options: { all: { type: 'boolean', summary: "Include the library's own models." } },
  details: ['Shows for each model and action whether the user can do it with all rows, with some or with none. It changes nothing.'],
  example: 'npx objection-perms what-can ada@example.com',
  async run({ args: [caller = ''], options, application }) {
    const app = await application()
    const user = await callerNamed(app, caller)
    const permissions = await app.run(() => whatCan(user, modelsOf(app, options.all)))
    const rows = permissions.map(({ model, action, rows: which, words }) => [model, action, which, which === 'some' ? words : ''])
    return { lines: table([['model', 'action', 'rows', 'rule'], ...rows]), json: { permissions } }
  },
})
