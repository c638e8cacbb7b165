const replaced = Symbol.for('objection-perms.replaced-methods')

type AnyFunction = (...args: never[]) => unknown

interface Slot {
  readonly original: AnyFunction
  current: AnyFunction
}

/**
 * Replaces a method of a Knex client, once however often runtimes begin and end on it: a wrapper that others have wrapped
 * meanwhile stays in their chain, and is used again by the next runtime instead of adding another layer.
 *
 * @param make gets the original, and returns what is called in its place
 * @param absent stands for an original that is not there
 * @returns puts the original back
 */
export function replaceMethod<T extends object, K extends keyof T & string>(
  target: T,
  name: K,
  make: (original: T[K]) => T[K],
  absent?: T[K],
): () => void {
  const slots = slotsOf(target)
  const known = slots.get(name)
  const wasOwn = Object.hasOwn(target, name)
  const original = (known?.original ?? target[name] ?? absent) as unknown as AnyFunction
  const slot: Slot = known ?? { original, current: original }
  slot.current = make(original as T[K]) as unknown as AnyFunction
  const undo = () => {
    slot.current = original
  }
  if (known) return undo
  slots.set(name, slot)
  const dispatch = function (this: unknown, ...args: unknown[]): unknown {
    return Reflect.apply(slot.current, this, args)
  }
  target[name] = dispatch as T[K]
  return () => {
    undo()
    if (target[name] !== dispatch) return
    slots.delete(name)
    if (wasOwn) target[name] = original as T[K]
    else Reflect.deleteProperty(target, name)
  }
}

function slotsOf(target: object): Map<string, Slot> {
  const holder = target as { [replaced]?: Map<string, Slot> }
  if (!Object.hasOwn(holder, replaced)) Object.defineProperty(holder, replaced, { value: new Map(), configurable: true })
  return holder[replaced] as Map<string, Slot>
}
