/** Loaded into a server with --import. Answers each message of the parent process with the memory and the delay of the event loop. */
import { monitorEventLoopDelay } from 'node:perf_hooks'

/** Megabytes, and milliseconds since the last message. The delay includes the millisecond of the timer that measures it. */
export interface Usage {
  readonly rss: number
  readonly delay: { readonly p50: number; readonly p99: number; readonly max: number }
}

const histogram = monitorEventLoopDelay({ resolution: 1 })
histogram.enable()
process.on('message', () => {
  const [p50, p99, max] = [histogram.percentile(50), histogram.percentile(99), histogram.max].map((time) => time / 1e6) as [
    number,
    number,
    number,
  ]
  process.send?.({ rss: process.memoryUsage.rss() / 2 ** 20, delay: { p50, p99, max } } satisfies Usage)
  histogram.reset()
})
// However the parent process ends, the server ends too.
process.on('disconnect', () => process.exit())
