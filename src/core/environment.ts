/**
 * Returns whether the process runs in development, where responses may contain details for developers: NODE_ENV is 'development' or
 * 'test'. Any other value, and none, counts as production.
 */
export function isDevelopment(): boolean {
  const { NODE_ENV } = process.env
  return NODE_ENV === 'development' || NODE_ENV === 'test'
}
