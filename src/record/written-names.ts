import { queryNamesOf, unwrittenNamesOf } from '../query/objection-internals.js'

/** Returns the properties that an update of a row sets. Graphs contain unchanged rows and columns of join tables, which it leaves out. */
export function writtenNames(row: object): string[] {
  const unwritten = unwrittenNamesOf(row)
  return [...Object.keys(row), ...queryNamesOf(row)].filter((name) => !name.startsWith('$') && !unwritten.includes(name))
}
