// An import of node:http would read all of its exports, and one of them loads undici: 30 ms and 5 MB.
const { STATUS_CODES } = process.getBuiltinModule('node:http')

/** Returns the standard text of a status, such as "Not Found". Undefined if it has none. */
export const statusText = (status: number): string | undefined => STATUS_CODES[status]
