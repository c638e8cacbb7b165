/** The rows that knex.raw() answers, whichever the driver. */
export function rawRows(result: unknown): Record<string, unknown>[] {
  const { rows } = result as { rows?: Record<string, unknown>[] }
  if (rows) return rows
  const list = result as unknown[]
  return (Array.isArray(list[0]) ? list[0] : list) as Record<string, unknown>[]
}
