/** Suggestions for misspelled names in error messages. */

/** More names than this are not listed: the message would hide what to do. */
const MAX_LISTED = 40

/**
 * Returns text that lists the known names, and suggests those near to a wrong one.
 *
 * @param what the subject of the list, such as 'Its columns'
 */
export function nearestNames(wrong: string, names: readonly string[], what: string): string {
  const near = namesNear(wrong, names)
    .slice(0, 3)
    .map((name) => `'${name}'`)
  const more = names.length > MAX_LISTED ? ` and ${names.length - MAX_LISTED} more` : ''
  const list = `${what} are ${names.slice(0, MAX_LISTED).join(', ') || 'none'}${more}.`
  return near.length > 0 ? `${list} Did you mean ${near.join(' or ')}?` : list
}

/** Returns the known names that a wrong one may be a misspelling of, the nearest first. */
export function namesNear(wrong: string, names: readonly string[]): string[] {
  return names
    .map((name) => ({ name, distance: distanceOf(fold(wrong), fold(name)) }))
    .filter(({ name, distance }) => distance <= Math.max(1, Math.floor(Math.min(wrong.length, name.length) / 3)))
    .sort((a, b) => a.distance - b.distance)
    .map(({ name }) => name)
}

// 'project_id' and 'projectid' are near to 'projectId'.
const fold = (name: string): string => name.toLowerCase().replaceAll(/[_-]/g, '')

/** Returns the number of characters to insert, delete, replace or swap with the next one (optimal string alignment). */
function distanceOf(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  let before: number[] = []
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const swapped = isSwapped ? (before[j - 2] as number) + 1 : replaced
      next.push(Math.min(replaced, swapped, (row[j] as number) + 1, (next[j - 1] as number) + 1))
    }
    before = row
    row = next
  }
  return row[b.length] as number
}
