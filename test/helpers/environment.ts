/** Calls fn while NODE_ENV has a value; undefined removes it. */
export async function inEnvironment<T>(value: string | undefined, fn: () => T | PromiseLike<T>): Promise<T> {
  const { NODE_ENV } = process.env
  set(value)
  try {
    return await fn()
  } finally {
    set(NODE_ENV)
  }
}

function set(value: string | undefined): void {
  if (value === undefined) Reflect.deleteProperty(process.env, 'NODE_ENV')
  else process.env['NODE_ENV'] = value
}
