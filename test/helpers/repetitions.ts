const given = process.env['RACES']

/**
 * How often a race is repeated: `full` times with FULL=1 (`.ci/nightly`), else one fifth of that. A fault in a lock has
 * always shown within the first few repetitions. `RACES=200 npx mocha FILE` sets the number while a lock is being changed.
 */
export function repetitions(full: number): number {
  if (given) return Number(given)
  return process.env['FULL'] === '1' ? full : Math.ceil(full / 5)
}

/** How many generated cases a property is tried on: `full` with FULL=1, else one part of it. `variable` overrides both. */
export function generatedCases(full: number, variable: string, part = 3): number {
  const chosen = process.env[variable]
  if (chosen) return Number(chosen)
  return process.env['FULL'] === '1' ? full : Math.ceil(full / part)
}

/** The number of the day, which chooses the kinds of ids of a run. `ID_DAY=20785` repeats the choice of an earlier run. */
export function idDay(): number {
  return Number(process.env['ID_DAY'] ?? Math.floor(Date.now() / 86_400_000))
}
