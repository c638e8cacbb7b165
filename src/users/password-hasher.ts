/**
 * What turns passwords into stored hashes and checks them. The library brings one for bcrypt (`bcryptHasher`);
 * `initPerms({ passwordHasher })` takes any other, for example one for argon2id.
 *
 * An implementation of one's own keeps three promises: `verify` answers false, and never throws, for a stored hash that it
 * cannot read or that is missing; it costs the same work whatever the stored hash and the answer are; and nothing of it
 * blocks the event loop.
 */
export interface PasswordHasher {
  /** Makes the hash to store. */
  hash(password: string): Promise<string>
  /** Whether the password is the one that was hashed; `stored` is null for a user without a password, or no user at all. */
  verify(password: string, stored: string | null | undefined): Promise<boolean>
  /**
   * Whether the stored hash should be made anew at the next sign-in, when the password is at hand. Never true where the new
   * hash would be weaker than the stored one.
   */
  needsRehash(stored: string, password?: string): boolean
  /** Ends what runs in the background, once the work under way is done. */
  close?(): Promise<void>
}
