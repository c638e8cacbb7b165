import { Model } from 'objection'
import { isUserModel } from '../policy/policy.js'
import { assertRegisteredUser } from '../policy/registered-models.js'
import { assertHome } from '../query/home.js'
import { enterRuntime, type Runtime } from '../runtime.js'

/** Binds the functions of an API to a runtime, independent of the caller's context. */
export function bindToRuntime<T extends object>(runtime: Runtime, api: T): T {
  const bound = Object.entries(api).map(([name, value]) => {
    if (typeof value === 'function') {
      const call = (...args: unknown[]) =>
        enterRuntime(runtime, () => {
          for (const given of args) {
            assertHome(given)
            if (given instanceof Model && isUserModel(given.constructor)) assertRegisteredUser(given)
          }
          return Reflect.apply(value, api, args)
        })
      return [name, call]
    }
    return [name, typeof value === 'object' && value !== null ? bindToRuntime(runtime, value as object) : value]
  })
  return Object.fromEntries(bound) as T
}
