import { foldName } from '../database/arriving-names.js'
import { modelSlot } from '../runtime.js'
import { structureOf } from '../schema/definition.js'
import { protectedClasses, protectionVersion } from './protected-tables.js'

type Hiding = ReadonlyMap<string, readonly (readonly string[])[]>

const memo = modelSlot<{ readonly version: number; readonly hiding: Hiding } | undefined>(() => undefined)

// For each property that models hide, all properties of those models. Their columns may have been renamed on the way.
function hidingNow(): Hiding {
  const known = memo.get()
  if (known?.version === protectionVersion()) return known.hiding
  const { version, classes } = protectedClasses()
  const hiding = new Map<string, (readonly string[])[]>()
  for (const cls of classes) {
    const specs = Object.entries(structureOf(cls).specs)
    const all = specs.map(([property]) => foldName(property))
    // Who may read a column with a rule is for its own model to say, and the row is of another.
    for (const [property, { isHidden, readable }] of specs)
      if (isHidden || readable) hiding.set(foldName(property), [...(hiding.get(foldName(property)) ?? []), all])
  }
  memo.set({ version, hiding })
  return hiding
}

/**
 * Whether a property that a row's own model does not declare is one that another model hides: `select('user.*')` of a join, or
 * castTo(), brings all columns of that model. By the name alone it may be anything, such as a sum under the name of its column.
 */
export function isHiddenElsewhere(row: object, name: string): boolean {
  const models = hidingNow().get(foldName(name))
  if (!models) return false
  const held = new Set(Object.keys(row).map(foldName))
  return models.some((all) => all.every((property) => held.has(property)))
}
