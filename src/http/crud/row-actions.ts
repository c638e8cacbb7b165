/** The endpoints of the actions that a policy adds, such as `POST tickets/:id/close`. */
import type { OptionNames } from '../../core/known-options.js'
import { snakeCase } from '../../core/names.js'
import type { StepUpRule } from '../../policy/fresh-session.js'
import type { ObjectSchema } from '../../schema/json-schemas.js'
import { assertNoErrors, schemaErrors, unknownKeys } from '../../schema/validator.js'
import type { EndpointContext, SchemaOption } from '../core/endpoint.js'
import type { ServedModel } from '../core/ports.js'
import { narrowedInput, objectOf } from './input.js'
import { namesOf } from './shape.js'

/** The argument of an action's handler. */
export interface ActionContext<Row, Input> extends Omit<EndpointContext<Row>, 'input'> {
  /** The row. It is locked, and the caller may do the action with it. */
  readonly row: Row
  /** The body, validated by `input`. Undefined for an action without `input`. */
  readonly input: Input
}

export interface ActionOptions<Row, Input = Record<string, unknown>> {
  /**
   * Does the action, in a transaction that holds a lock on the row. Writes in it follow the policy as everywhere: use asSystem() for
   * those that only the action allows. The result is sent as JSON, rows as the resource shows them, and undefined as 204.
   */
  handler: (context: ActionContext<Row, Input>) => unknown
  /** The body: a JSON Schema, or a list of columns of the model. Default: no body. */
  input?: SchemaOption | undefined
  /** The JSON Schema of the response, for the OpenAPI document. Default: the row as the resource shows it. */
  schema?: object | undefined
  /** The last segment of the path. Default: the name of the action in kebab-case. */
  path?: string | undefined
  /** Allows anonymous callers. The policy still applies. Default: false. */
  public?: boolean | undefined
  /** Allows only global admins. Default: false. */
  adminOnly?: boolean | undefined
  /** Allows only callers with this global role. */
  role?: string | undefined
  /** A rule that the caller's session must satisfy, such as `recent(300)`. Otherwise the response is 401. Default: any active session. */
  stepUp?: StepUpRule | undefined
  summary?: string | undefined
}

/** The names of the options of `resource.action()`. */
export const actionOptionNames: OptionNames<ActionOptions<unknown>> = {
  handler: true,
  input: true,
  schema: true,
  path: true,
  public: true,
  adminOnly: true,
  role: true,
  stepUp: 'unchecked',
  summary: true,
}

/** Returns the path of an action: `:id/mark-paid` for 'markPaid'. */
export function actionPath(name: string, path = snakeCase(name).replaceAll('_', '-')): string {
  return `:id/${path}`
}

/** Returns the JSON Schema of an action's body. */
export function actionSchema(model: ServedModel, input: SchemaOption): object {
  return narrowedInput(model.schema.update, input)
}

/** Checks the body of an action. @throws ValidationError for keys and values that its schema does not allow */
export function checkedInput(model: ServedModel, body: unknown, input: SchemaOption): Record<string, unknown> {
  const given = objectOf(body)
  const schema = actionSchema(model, input)
  const { properties, additionalProperties } = schema as Partial<ObjectSchema> & { additionalProperties?: unknown }
  const isOpen = properties === undefined || (additionalProperties !== undefined && additionalProperties !== false)
  const names = namesOf(schema)
  if (!isOpen) assertNoErrors(unknownKeys(given, (name) => names.includes(name)))
  assertNoErrors(schemaErrors(schema, given))
  return given
}
