/**
 * Hashes passwords and verifies them. The library has `bcryptHasher` and `argon2idHasher`; `initPerms({ passwordHasher })` takes
 * any other implementation.
 * An implementation must meet three conditions. `verify` returns false, and does not throw, for a missing or unreadable stored
 * hash. It takes the same time for every stored hash and every result. It does not block the event loop.
 */
export interface PasswordHasher {
  /** Returns the hash to store. */
  hash(password: string): Promise<string>
  /** Returns whether the password matches the hash. `stored` is null for a user without a password and for an unknown user. */
  verify(password: string, stored: string | null | undefined): Promise<boolean>
  /**
   * Returns whether sign-in should replace the stored hash. It must return false when the new hash would be weaker than the stored
   * one.
   */
  needsRehash(stored: string, password?: string): boolean
  /**
   * Returns whether the hasher can verify this stored hash. `importUsers()` refuses hashes that it cannot.
   *
   * @defaultValue every hash is accepted
   */
  recognises?(stored: string): boolean
  /** Ends background work, such as threads, after running hashes finish. */
  close?(): Promise<void>
}
