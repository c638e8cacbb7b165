import { foldName } from '../database/arriving-names.js'
import { modelSlot } from '../runtime.js'
import { structureOf } from '../schema/definition.js'
import { protectedClasses, protectionVersion } from './protected-tables.js'

type Hiding = ReadonlyMap<string, readonly (readonly string[])[]>

const memo = modelSlot<{ readonly version: number; readonly hiding: Hiding } | undefined>(() => undefined)

// Maps each property that a model hides to all properties of that model. Names are folded, because columns may arrive renamed.
function hidingNow(): Hiding {
  const known = memo.get()
  if (known?.version === protectionVersion()) return known.hiding
  const { version, classes } = protectedClasses()
  const hiding = new Map<string, (readonly string[])[]>()
  for (const cls of classes) {
    const specs = Object.entries(structureOf(cls).specs)
    const all = specs.map(([property]) => foldName(property))
    // A readableBy rule cannot be evaluated here, because the row is not an instance of its model: treat the column as hidden.
    for (const [property, { isHidden, readable }] of specs)
      if (isHidden || readable) hiding.set(foldName(property), [...(hiding.get(foldName(property)) ?? []), all])
  }
  memo.set({ version, hiding })
  return hiding
}

/**
 * Returns whether an undeclared property of a row is a hidden column of another model. `select('user.*')` of a join and castTo()
 * bring all columns of that model, so the row must hold all of them: the name alone may be anything, such as a sum.
 */
export function isHiddenElsewhere(row: object, name: string): boolean {
  const models = hidingNow().get(foldName(name))
  if (!models) return false
  const held = new Set(Object.keys(row).map(foldName))
  return models.some((all) => all.every((property) => held.has(property)))
}
