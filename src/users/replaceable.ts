import type { Model } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { type ModelKind, registeredModel } from '../policy/registered-models.js'
import type { AbstractConstructor } from '../record/record-types.js'
import { onModelClass } from '../record/relations.js'
import { markIntermediate } from '../schema/definition/declarations.js'
import { markWithoutFields } from '../schema/definition/definition-checks.js'
import { modelClass } from '../schema/model-class.js'

interface CreationCheck {
  canCreate(...args: unknown[]): Promise<boolean>
}

/** The library's classes that an application may replace, with the option of initPerms that replaces them. */
const replaceable = new Map<object, ModelKind>()

/** Static methods and getters that work on rows. They are redirected to the registered class. */
const redirected = [
  ...['query', 'relatedQuery', 'knexQuery', 'fromJson', 'fromDatabaseJson', 'build', 'create', 'createFrom', 'schema', 'columnSpecs'],
  ...['get', 'getOr404', 'getBy', 'getByOr404', 'bypassPerms', 'issue', 'verify', 'deleteExpired', 'domainIdOf'],
  ...['fetchTableMetadata', 'tableMetadata', 'upsertGraph', 'insertGraph'],
]

/**
 * Refuses instances of a library class while the application has registered another class for it.
 *
 * @param kind the option of initPerms that replaces the class
 */
export function ReplaceableMixin<T extends AbstractConstructor<Model>>(Base: T, kind: ModelKind): T
export function ReplaceableMixin(Base: AbstractConstructor<Model> & CreationCheck, kind: ModelKind): AbstractConstructor<Model> {
  abstract class Replaceable extends Base {
    constructor(...args: unknown[]) {
      super(...args)
      if (replaceable.get(new.target) === kind) assertNotReplaced(new.target, kind)
    }

    // Declared here because initPerms refuses a model that overrides canCreate itself.
    static override canCreate(...args: unknown[]): Promise<boolean> {
      const cls = replaceable.get(this) === kind ? registeredSubclass(this, kind) : this
      return Reflect.apply(Base.canCreate, cls, args)
    }
  }
  markIntermediate(Replaceable)
  return Replaceable
}

/**
 * Redirects static calls on a library class to the class that the application registered: after `initPerms({ user: Employee })`,
 * `User.getBy(...)` returns an Employee.
 *
 * @param cls the library's class, made with ReplaceableMixin
 */
export function redirectToRegistered(cls: object, kind: ModelKind): void {
  replaceable.set(cls, kind)
  markWithoutFields(cls)
  for (const name of redirected) {
    const { get, value } = findDescriptor(cls, name) ?? {}
    if (get) Object.defineProperty(cls, name, { configurable: true, get: redirecting(get, name) })
    else if (typeof value === 'function') {
      Object.defineProperty(cls, name, { configurable: true, writable: true, value: redirecting(value as () => unknown, name) })
    }
  }
  const { value: bindKnex } = findDescriptor(cls, 'bindKnex') as { value: (this: object, knex: unknown) => unknown }
  Object.defineProperty(cls, 'bindKnex', {
    configurable: true,
    writable: true,
    value(this: object, knex: unknown) {
      if (this === cls) assertNotReplaced(cls, kind)
      return bindKnex.call(this, knex)
    },
  })

  function redirecting(original: (...args: never[]) => unknown, name: string) {
    return function (this: object, ...args: never[]): unknown {
      const target = this === cls ? registeredSubclass(cls, kind) : this
      if (target === this) return Reflect.apply(original, this, args)
      const member = findDescriptor(target, name)
      return Reflect.apply((member?.get ?? member?.value) as typeof original, target, args)
    }
  }
}

onModelClass((cls) => {
  const kind = replaceable.get(cls)
  return kind === undefined ? cls : (registeredSubclass(cls, kind) as typeof Model)
})

/** Returns the registered class. @throws ConfigurationError when it does not extend the library's class */
function registeredSubclass(cls: object, kind: ModelKind): object {
  const registered = registeredModel(kind)
  if (registered !== cls && !(registered.prototype instanceof (cls as typeof Model))) assertNotReplaced(cls, kind)
  return registered
}

function assertNotReplaced(cls: object, kind: ModelKind): void {
  const registered = registeredModel(kind)
  if (registered === cls) return
  const { name } = modelClass(cls)
  throw new ConfigurationError(
    `${name} is not the registered ${kind} model. Use ${registered.name}, or call initPerms({ ${kind}: ${name} }).`,
  )
}

function findDescriptor(cls: object, name: string): PropertyDescriptor | undefined {
  for (let c: object | null = cls; c !== null; c = Object.getPrototypeOf(c) as object | null) {
    const found = Object.getOwnPropertyDescriptor(c, name)
    if (found) return found
  }
  return undefined
}
