/** The names of actions. */
import { ConfigurationError } from '../core/errors.js'
import { namesNear } from '../core/nearest-names.js'

export type Action = 'read' | 'create' | 'update' | 'delete'

/** An action of a policy: one of the four, or the name of an action that a model adds, such as 'publish'. */
export type ActionName = Action | (string & {})

export const crudActions: readonly Action[] = ['read', 'create', 'update', 'delete']

/** Returns whether a name is one of the four actions. */
export function isCrudAction(name: string): name is Action {
  return crudActions.includes(name as Action)
}

// Abilities such as 'tickets:write' stand for several actions.
const reserved = ['write', 'manage', 'all']

/**
 * Checks the name of an action that a policy adds.
 *
 * @param at the location of the rule, for the message
 * @throws ConfigurationError for a name that looks like a misspelling of the four actions, and one that an ability cannot hold
 */
export function assertNewAction(at: string, name: string): void {
  const [near] = namesNear(name, crudActions)
  if (near !== undefined)
    throw new ConfigurationError(`${at}.${name} looks like '${near}'. Use '${near}', or give the action another name, such as 'publish'.`)
  if (reserved.includes(name))
    throw new ConfigurationError(
      `${at}.${name}: this name stands for several actions. Use read, create, update or delete, or another name.`,
    )
  if (!/^[a-z][A-Za-z0-9]{0,63}$/.test(name))
    throw new ConfigurationError(`${at}: '${name}' is not the name of an action. Use letters and digits, such as 'publish' or 'markPaid'.`)
}
