/**
 * Returns rows of text as lines with aligned columns.
 *
 * @example table([['id', 'email'], ['1', 'ada@example.com']]) // ['id  email', '1   ada@example.com']
 */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows.reduce<number[]>((known, row) => row.map((text, at) => Math.max(known[at] ?? 0, text.length)), [])
  return rows.map((row) =>
    row
      .map((text, at) => text.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}
