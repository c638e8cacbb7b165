/** Longer headers are cut: browsers send less than 100 characters. */
const MAX_HEADER = 500

interface Range {
  /** In lower case, such as 'de-at', or '*'. */
  readonly range: string
  readonly weight: number
}

const rangePattern = /^(\*|[a-z]{1,8}(?:-[a-z0-9]{1,8}){0,7})(?:;q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?$/

/** Returns the language ranges of an Accept-Language header (RFC 9110, 12.5.4), the preferred ones first. Ignores invalid ranges. */
function rangesOf(header: string): Range[] {
  const ranges: Range[] = []
  for (const part of header.slice(0, MAX_HEADER).toLowerCase().split(',')) {
    const match = rangePattern.exec(part.replace(/[ \t]/g, ''))
    if (match) ranges.push({ range: match[1] as string, weight: Number(match[2] ?? 1) })
  }
  // The sort is stable: among equal weights the first one is preferred.
  return ranges.sort((a, b) => b.weight - a.weight)
}

/**
 * Chooses the language of a response by lookup (RFC 4647, 3.4): 'de-AT' also finds 'de', and 'pt' also finds 'pt-BR'.
 *
 * @param tags the available languages, in canonical form
 * @returns one of `tags`; `fallback` if the header is missing, or names none of them
 */
export function negotiateLanguage(header: string | undefined, tags: readonly string[], fallback: string): string {
  if (header === undefined || header === '') return fallback
  const ranges = rangesOf(header)
  const refused = new Set(ranges.filter(({ weight }) => weight === 0).map(({ range }) => range))
  const available = tags.filter((tag) => !refused.has(tag.toLowerCase()))
  for (const { range, weight } of ranges) {
    if (weight === 0) break
    if (range === '*') return available.includes(fallback) ? fallback : (available[0] ?? fallback)
    const found = tagFor(range, available)
    if (found !== undefined) return found
  }
  return fallback
}

function tagFor(range: string, tags: readonly string[]): string | undefined {
  for (let wanted = range; wanted !== ''; wanted = wanted.slice(0, Math.max(0, wanted.lastIndexOf('-')))) {
    const found = tags.find((tag) => tag.toLowerCase() === wanted)
    if (found !== undefined) return found
  }
  return tags.find((tag) => tag.toLowerCase().startsWith(`${range}-`))
}
