import { type Choices, typesOf } from '../choices.js'

/** Returns the module of the models: an own user model, and a model whose rows belong to a user. */
export function modelsModule(choices: Choices): string {
  const ts = typesOf(choices)
  return `import { authenticated, BasePermsModel, column, HasUserMixin, owner, User } from 'objection-perms'

/** A user. The library adds id, email, password, isEnabled, createdAt and updatedAt. */
export class Account extends User.withColumns({
  displayName: column.string({ maxLength: 100 }).nullable(),
}) {}

/** A note, which only its owner and admins can reach. An action without a rule is denied. */
export class Note extends HasUserMixin(BasePermsModel).withColumns({
  title: column.string({ maxLength: 200, minLength: 1 }),
  text: column.text(),
}) {
  static ${ts('override ')}policy = {
    read: owner(),
    create: authenticated(),
    update: owner(),
    delete: owner(),
  }
}
`
}
