import { formatExplanation } from '../../../insight/explain/format.js'
import { explain } from '../../../insight/explain.js'
import { modelClass } from '../../../schema/model-class.js'
import { defineCommand } from '../../command.js'
import { actionArgument, callerArgument, callerNamed, idArgument, modelArgument, rowNamed } from './target.js'

/** `objection-perms why` */
export const why = defineCommand({
  args: [callerArgument, actionArgument, modelArgument, idArgument],
  options: {},
  details: [
    'Shows which parts of the policy hold, and the smallest changes that would change the answer.',
    'It changes nothing. The exit code is 1 if the user may not do it.',
  ],
  example: 'npx objection-perms why ada@example.com update Post 42',
  async run({ args: [caller = '', action = '', model = '', id = ''], application }) {
    const app = await application()
    const row = await rowNamed(app, model, id)
    const user = await callerNamed(app, caller)
    const explanation = await app.run(() => explain(modelClass(row.constructor as never), action, user, row as never))
    return {
      lines: formatExplanation(explanation, 'text').trimEnd().split('\n'),
      json: JSON.parse(formatExplanation(explanation, 'json')),
      isNegative: !explanation.allowed,
    }
  },
})
