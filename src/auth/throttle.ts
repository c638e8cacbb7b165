/** What is limited. */
export type ThrottledAction = 'signIn' | 'registration' | 'refresh'

/** Who is limited: the address as the adapter vouches for it, and the account as it was named. */
export interface ThrottledWho {
  readonly account?: string | undefined
  readonly address?: string | undefined
}

/** One try, counted as a failure until its end is known: so a hundred at once get no further than a hundred in a row. */
export interface Attempt {
  /** It was none: the failures of this account from this address are forgotten. */
  succeeded(): Promise<void>
  /** It came to no answer (the database went away): it does not count. */
  withdrawn(): Promise<void>
}

/** Limits tries. Asked before any hash is made. */
export interface Throttle {
  /** @throws TooManyAttemptsError */
  begin(action: ThrottledAction, who: ThrottledWho): Promise<Attempt>
}

/** Limits nothing. */
export const unlimited: Throttle = {
  begin: async () => ({ succeeded: async () => {}, withdrawn: async () => {} }),
}
