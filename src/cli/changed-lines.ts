/** Returns the lines that differ between two texts, with `-` for the first text and `+` for the second. */

/** The most lines of a text whose lines are compared pairwise. Longer texts are compared line by line. */
const MAX_LINES = 2000

/**
 * @param limit the most lines of the result; a last line counts the others
 * @example changedLines('a\nb', 'a\nc', 20) // ['-b', '+c']
 */
export function changedLines(before: string, after: string, limit: number): readonly string[] {
  const [old, current] = [linesOf(before), linesOf(after)]
  const changes = old.length > MAX_LINES || current.length > MAX_LINES ? sameLineChanges(old, current) : shortestChanges(old, current)
  if (changes.length <= limit) return changes
  return [...changes.slice(0, limit), `... and ${changes.length - limit} more lines`]
}

/** Lines may end with CRLF, as Git writes them on Windows. */
export const linesOf = (text: string): string[] => text.replace(/\r?\n$/, '').split(/\r?\n/)

function sameLineChanges(old: readonly string[], current: readonly string[]): string[] {
  return Array.from({ length: Math.max(old.length, current.length) }, (_, i) => {
    if (old[i] === current[i]) return []
    return [...(old[i] === undefined ? [] : [`-${old[i]}`]), ...(current[i] === undefined ? [] : [`+${current[i]}`])]
  }).flat()
}

// The longest common subsequence: common[i][j] is its length from line i and line j on.
function shortestChanges(old: readonly string[], current: readonly string[]): string[] {
  const common = Array.from({ length: old.length + 1 }, () => new Uint16Array(current.length + 1))
  const at = (i: number, j: number): number => common[i]?.[j] ?? 0
  for (let i = old.length - 1; i >= 0; i -= 1) {
    const line = common[i] as Uint16Array
    for (let j = current.length - 1; j >= 0; j -= 1)
      line[j] = old[i] === current[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1))
  }
  const changes: string[] = []
  let [i, j] = [0, 0]
  while (i < old.length || j < current.length) {
    if (i < old.length && j < current.length && old[i] === current[j]) [i, j] = [i + 1, j + 1]
    else if (j >= current.length || (i < old.length && at(i + 1, j) >= at(i, j + 1))) changes.push(`-${old[i++]}`)
    else changes.push(`+${current[j++]}`)
  }
  return changes
}
