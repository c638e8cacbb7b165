import type { LegacyPasswordScheme } from '../../../../src/index.js'

/** A scheme whose hash is its prefix and the password, and that counts its calls. */
export class CountingScheme implements LegacyPasswordScheme {
  verified = 0
  dummies = 0
  readonly passwords: string[] = []
  /** Thrown by the next calls. */
  error: Error | undefined

  constructor(
    readonly name: string,
    readonly most = 100,
  ) {}

  /** The calls since the last time. */
  take(): { verified: number; dummies: number } {
    const { verified, dummies } = this
    this.verified = 0
    this.dummies = 0
    return { verified, dummies }
  }

  make(password: string): string {
    return `${this.name}$${password}`
  }

  recognises(stored: string): boolean {
    return stored.startsWith(`${this.name}$`)
  }

  exceeds(stored: string): string | undefined {
    return stored.length > this.most ? 'length' : undefined
  }

  async verify(password: string, stored: string): Promise<boolean> {
    this.verified += 1
    this.passwords.push(password)
    if (this.error) throw this.error
    return stored === this.make(password)
  }

  async dummy(password: string): Promise<void> {
    this.dummies += 1
    this.passwords.push(password)
    if (this.error) throw this.error
  }
}
