/** The row that a question is about. */
import type { Model } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { hasId } from '../enforce/evaluate.js'
import { assertAction } from '../policy/policy.js'
import { classOf } from '../schema/model-class.js'

/**
 * Returns the class of a saved row, and checks the action.
 *
 * @throws ConfigurationError for a row without a policy or an id, and for an action that cannot be done with a row
 */
export function classOfRow(row: Model, action: string, caller: string): typeof Model {
  const cls = classOf(row)
  if (!('policy' in cls)) throw new ConfigurationError(`${caller}: ${cls.name} has no policy. Pass a row of a model with PermsMixin.`)
  assertAction(cls, action)
  if (action === 'create')
    throw new ConfigurationError(`${caller}: a row that exists cannot be created. Ask with ${cls.name}.canCreate(values, user).`)
  if (!hasId(row)) throw new ConfigurationError(`${caller}: this ${cls.name} has no id. Save it, or load it with its id.`)
  return cls
}
