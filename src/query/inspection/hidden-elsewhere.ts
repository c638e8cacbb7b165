import { foldName } from '../../database/arriving-names.js'
import { modelSlot } from '../../runtime.js'
import { columnOf, structureOf } from '../../schema/definition/definition.js'
import { protectedClasses, protectionVersion } from './protected-tables.js'

/** The names of each column of a model: its property and its column. */
type Names = readonly (readonly string[])[]
type Hiding = ReadonlyMap<string, readonly Names[]>

const memo = modelSlot<{ readonly version: number; readonly hiding: Hiding } | undefined>(() => undefined)

// Maps each property that a model hides to all properties of that model. Names are folded, because columns may arrive renamed.
function hidingNow(): Hiding {
  const known = memo.get()
  if (known?.version === protectionVersion()) return known.hiding
  const { version, classes } = protectedClasses()
  const hiding = new Map<string, Names[]>()
  for (const cls of classes) {
    const specs = Object.entries(structureOf(cls).specs)
    const namesOf = (property: string) => [...new Set([property, columnOf(cls, property)].map(foldName))]
    const all = specs.map(([property]) => namesOf(property))
    // A readableBy rule cannot be evaluated here, because the row is not an instance of its model: treat the column as hidden.
    for (const [property, { isHidden, readable }] of specs)
      if (isHidden || readable) for (const name of namesOf(property)) hiding.set(name, [...(hiding.get(name) ?? []), all])
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
  return models.some((all) => all.every((names) => names.some((one) => held.has(one))))
}
