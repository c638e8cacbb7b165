/** The figures that the benches save. */
import type { Result } from '../results.js'

export type HttpFigures = readonly { readonly workload: string; readonly ratio: number }[]

export type PermsFigures = readonly { readonly database: string; readonly operations: Readonly<Record<string, number>> }[]

export type GrowthFigures = readonly {
  readonly database: string
  readonly sizes: readonly number[]
  readonly operations: Readonly<Record<string, readonly number[]>>
}[]

export interface MemorySample {
  readonly requests: number
  readonly rss: number
  readonly p50: number
  readonly p99: number
}
export type MemoryFigures = Readonly<Record<'ours' | 'limited' | 'floor', readonly MemorySample[]>>

export type StartUpFigures = readonly { readonly side: 'ours' | 'plain'; readonly ms: number; readonly rss: number }[]

/** Requests per second relative to the handwritten server, by workload and contestant. */
export interface PeersFigures {
  readonly versions: Readonly<Record<string, string>>
  readonly ratios: Readonly<Record<string, Readonly<Record<string, number>>>>
}

export interface FiguresOf {
  readonly http: HttpFigures
  readonly 'http-cached': HttpFigures
  readonly perms: PermsFigures
  readonly growth: GrowthFigures
  readonly memory: MemoryFigures
  readonly 'start-up': StartUpFigures
  readonly peers: PeersFigures
}

export const nodeOf = ({ node }: Result): number => Number(/\d+/.exec(node)?.[0])

/** The results of all benches. */
export class Results {
  readonly #all: readonly Result[]

  constructor(all: readonly Result[]) {
    this.#all = [...all].sort((a, b) => nodeOf(a) - nodeOf(b))
  }

  /** Returns the results of a bench, one for each version of Node, from the oldest. */
  of<Bench extends keyof FiguresOf>(bench: Bench): Result<FiguresOf[Bench]>[] {
    return this.#all.filter((result) => result.bench === bench) as Result<FiguresOf[Bench]>[]
  }

  /** Returns the result that a chart shows: that of Node 24, or of the oldest version without it. @throws Error if there is none */
  first<Bench extends keyof FiguresOf>(bench: Bench): Result<FiguresOf[Bench]> {
    const all = this.of(bench)
    const found = all.find((result) => nodeOf(result) === 24) ?? all[0]
    if (!found) throw new Error(`bench/results has no figures of ${bench}. Run JSON=bench/results npx tsx bench/${bench}.ts.`)
    return found
  }
}
