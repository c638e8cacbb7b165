/**
 * A map with a maximum size. Beyond it, an entry is dropped that has not been used since the map became half full. Uses are not recorded
 * before, because most maps never fill up, and recording a use costs more than the look-up.
 */
export class LruMap<K, V> {
  readonly #limit: number
  readonly #entries = new Map<K, V>()

  /** @param limit the maximum number of entries */
  constructor(limit: number) {
    this.#limit = limit
  }

  get size(): number {
    return this.#entries.size
  }

  /** Returns the value of a key, which counts as its use; undefined for an unknown key. */
  get(key: K): V | undefined {
    const value = this.#entries.get(key)
    if (value === undefined || this.#entries.size * 2 <= this.#limit) return value
    // A Map keeps the order of insertion.
    this.#entries.delete(key)
    this.#entries.set(key, value)
    return value
  }

  /**
   * Sets the value of a key.
   *
   * @returns the key that was dropped for it; undefined if there was room
   */
  set(key: K, value: V): K | undefined {
    this.#entries.delete(key)
    this.#entries.set(key, value)
    if (this.#entries.size <= this.#limit) return undefined
    const [oldest] = this.#entries.keys() as Iterable<K>
    this.#entries.delete(oldest as K)
    return oldest
  }

  delete(key: K): void {
    this.#entries.delete(key)
  }
}
