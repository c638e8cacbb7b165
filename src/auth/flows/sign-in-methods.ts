/** The ways in which a user can sign in. The last one cannot be removed. */
import { ConflictError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { asSystem } from '../../policy/context.js'
import { hasPassword } from '../../users/account/stored-password.js'
import { Identity } from '../../users/identity.js'
import { Passkey } from '../../users/passkey.js'
import type { User } from '../../users/user.js'
import type { OptionalTables } from '../optional-tables.js'
import { userClass } from './credentials.js'

/** The facts that decide whether a user has a method. */
interface MethodContext {
  /** The user's row, read in the transaction. */
  readonly user: User
  readonly tables: OptionalTables
  /** Whether the application signs users in by mail: with a magic link or a mailed code. */
  readonly offersMail: boolean
}

/** Each method, cheapest first. A feature with a method of its own adds it here, and its table to OptionalTables. */
const methods: readonly ((context: MethodContext) => boolean | Promise<boolean>)[] = [
  ({ user }) => hasPassword(user.passwordHash ?? null),
  ({ user, offersMail }) => offersMail && typeof user.email === 'string' && user.email !== '',
  async ({ user, tables }) => tables.passkeys && (await Passkey.query().where('userId', user.id).resultSize()) > 0,
  async ({ user, tables }) => tables.identities && (await Identity.query().where('userId', user.id).resultSize()) > 0,
]

/** Refuses to remove the last method by which a user can sign in. */
export class SignInMethods {
  readonly #tables: () => Promise<OptionalTables>
  #offersMail = false

  constructor(tables: () => Promise<OptionalTables>) {
    this.#tables = tables
  }

  /** Records that the application signs users in by mail. Until then, a mailbox is no method: removing the last other one is refused. */
  noteMail(): void {
    this.#offersMail = true
  }

  /**
   * Returns a function that checks that a user can still sign in. Call it after the removal, in the same transaction, which must have
   * locked the user's row (lockRow): of two concurrent removals the second one sees the first one.
   *
   * @returns a function that throws ConflictError, which undoes the removal, when no method is left
   */
  async prepare(): Promise<(userId: string) => Promise<void>> {
    const tables = await this.#tables()
    return async (userId) => {
      if (!(await asSystem(() => this.#canSignIn(userId, tables)))) throw new ConflictError(message('signIn.onlyMethod'))
    }
  }

  async #canSignIn(userId: string, tables: OptionalTables): Promise<boolean> {
    const user = await userClass().query().findById(userId)
    if (!user) return false
    for (const has of methods) if (await has({ user, tables, offersMail: this.#offersMail })) return true
    return false
  }
}
