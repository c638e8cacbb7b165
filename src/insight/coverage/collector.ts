/** Counts the outcomes of leaves in one process, and keeps them in a file. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Model } from 'objection'
import { newId } from '../../core/ids.js'
import { type CoverageLeaf, coverageLeaves, type RuleLeaf } from './leaves.js'

/** A leaf, and how often each outcome was seen. */
export interface LeafCounts extends CoverageLeaf {
  readonly seen: { true: number; false: number }
}

/** The milliseconds after a new outcome until the file is written, for processes that are killed. */
const SAVE_AFTER = 200

const keyOf = ({ model, action, path, words }: CoverageLeaf): string => JSON.stringify([model, action, path, words])

/** Counts the outcomes of leaves. */
export class CoverageCollector {
  readonly #counts = new Map<string, LeafCounts>()
  readonly #leaves = new Map<typeof Model, ReadonlyMap<string, readonly RuleLeaf[]>>()
  readonly #file: string | undefined
  #timer: NodeJS.Timeout | undefined
  /** The number of statements whose rows could not be examined. */
  failures = 0

  /** @param folder the folder of the files; undefined: the counts stay in this process */
  constructor(folder: string | undefined) {
    this.#file = folder === undefined ? undefined : join(folder, `policies-${process.pid}-${newId()}.json`)
    if (folder !== undefined) process.on('exit', this.save)
  }

  /** Adds the leaves of models, seen or not. */
  add(models: readonly (abstract new (...args: never[]) => Model)[]): void {
    for (const [cls, actions] of coverageLeaves(models)) {
      if (this.#leaves.has(cls)) continue
      this.#leaves.set(cls, actions)
      for (const leaf of [...actions.values()].flat()) this.#countsOf(leaf)
    }
    this.#saveSoon()
  }

  /** Returns the leaves of an action; none for a model that was not added. */
  leavesOf(cls: typeof Model, action: string): readonly RuleLeaf[] {
    return this.#leaves.get(cls)?.get(action) ?? []
  }

  has(cls: typeof Model): boolean {
    return this.#leaves.has(cls)
  }

  /** Counts an outcome. */
  count(leaf: CoverageLeaf, outcome: boolean, times = 1): void {
    const { seen } = this.#countsOf(leaf)
    const isNew = seen[`${outcome}`] === 0
    seen[`${outcome}`] += times
    if (isNew) this.#saveSoon()
  }

  counts(): readonly LeafCounts[] {
    return [...this.#counts.values()]
  }

  /** Writes the file, if there is a folder. Another process never reads half a file. */
  readonly save = (): void => {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#file === undefined) return
    try {
      mkdirSync(dirname(this.#file), { recursive: true })
      writeFileSync(`${this.#file}.tmp`, JSON.stringify({ version: 1, leaves: this.counts(), failures: this.failures }))
      renameSync(`${this.#file}.tmp`, this.#file)
    } catch (error) {
      // A full disk must not end the process of the tests.
      process.emitWarning(`The coverage of policies could not be written: ${(error as Error).message}`)
    }
  }

  /** Writes the file a last time. */
  end(): void {
    this.save()
    process.off('exit', this.save)
  }

  #saveSoon(): void {
    if (this.#file === undefined) return
    this.#timer ??= setTimeout(this.save, SAVE_AFTER).unref()
  }

  #countsOf({ model, action, path, words, outcomes }: CoverageLeaf): LeafCounts {
    const key = keyOf({ model, action, path, words, outcomes })
    const known = this.#counts.get(key) ?? { model, action, path, words, outcomes, seen: { true: 0, false: 0 } }
    this.#counts.set(key, known)
    return known
  }
}

/** Returns the sums of counts, in the order of their first occurrence. */
export function sumOf(lists: readonly (readonly LeafCounts[])[]): readonly LeafCounts[] {
  const sums = new Map<string, LeafCounts>()
  for (const { seen, ...leaf } of lists.flat()) {
    const sum = sums.get(keyOf(leaf)) ?? { ...leaf, seen: { true: 0, false: 0 } }
    sum.seen.true += seen.true
    sum.seen.false += seen.false
    sums.set(keyOf(leaf), sum)
  }
  return [...sums.values()]
}
