const replaced = Symbol.for('objection-perms.replaced-methods')

type AnyFunction = (...args: never[]) => unknown

interface Slot {
  readonly original: AnyFunction
  current: AnyFunction
}

/**
 * Replaces a method of an object with at most one wrapper. If other code has wrapped the method since, undo cannot remove the
 * wrapper from that chain: it then only calls the original. The next replaceMethod() reuses it instead of adding a layer.
 *
 * @param make gets the original method and returns its replacement
 * @param absent the original to use if the method does not exist
 * @returns a function that restores the original
 * @example const undo = replaceMethod(console, 'warn', (warn) => (...args) => warn.call(console, 'warning:', ...args))
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
  const original = (known?.original ?? target[name] ?? absent) as AnyFunction
  const slot: Slot = known ?? { original, current: original }
  slot.current = make(original as T[K]) as AnyFunction
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
