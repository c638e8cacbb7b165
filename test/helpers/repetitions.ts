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

/**
 * The number that chooses which kinds of ids a run without FULL=1 tests on which database. `ID_CHOICE=1` chooses the next ones. It is
 * fixed, because a run must not fail on another day without a change.
 */
export function idChoice(): number {
  return Number(process.env['ID_CHOICE'] ?? 0)
}
