/** Reads static members of model classes, which subclasses inherit and extend. */

/** Returns the table of a model class. */
export function tableOf(cls: object): string {
  return (cls as { getTableName(): string }).getTableName()
}

/** Returns the class and its base classes, the outermost base first. */
export function lineage(cls: object): object[] {
  const chain: object[] = []
  for (let c: object | null = cls; c !== null && c !== Function.prototype; c = Object.getPrototypeOf(c) as object | null) chain.unshift(c)
  return chain
}

/** Returns the value of a static property that the class itself has; undefined for an inherited one. */
export function ownStatic(cls: object, name: string): unknown {
  const descriptor = Object.getOwnPropertyDescriptor(cls, name)
  if (!descriptor) return undefined
  return descriptor.get ? descriptor.get.call(cls) : descriptor.value
}

/** Returns a static object merged over the class and its base classes, such as `modifiers`. */
export function mergedStatic<T extends object>(cls: object, name: string): T {
  const merged = {}
  for (const c of lineage(cls)) Object.assign(merged, ownStatic(c, name))
  return merged as T
}

/** Returns a static list joined over the class and its base classes, such as `virtualAttributes`. */
export function mergedList(cls: object, name: string): string[] {
  return [...new Set(lineage(cls).flatMap((c) => (ownStatic(c, name) as string[] | null | undefined) ?? []))]
}
