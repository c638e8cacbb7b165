/** Checks what happens to rows that can be restored when their user is deleted. */
import { silentLosses } from '../../../users/lifecycle/silent-loss.js'
import { type Check, type Finding, warning } from './finding.js'

/** Reports models that keep deleted rows, but whose foreign keys would destroy them with a user. */
export const checkUserRows: Check = () =>
  silentLosses().map(({ model: { name }, links }): Finding => {
    const how = links.map(({ model, column }) => `${model.name}.${column}`).join(', ')
    return warning(
      'user rows',
      `Users who have rows of ${name} cannot be deleted: the foreign keys (${how}) would destroy rows that can be restored.`,
      `Say what happens to them: static onUserDeleted on ${name}, such as 'softDelete' or 'delete'.`,
    )
  })
