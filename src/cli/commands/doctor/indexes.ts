/** Checks whether the columns that policies compare have indexes. */
import { columnsWithoutIndex } from '../../../insight/lint/indexes.js'
import { definitionOf } from '../../../schema/definition/definition.js'
import { modelClass } from '../../../schema/model-class.js'
import { type Check, warning } from './finding.js'

/** Reports columns without an index that owner(), the domain and related() compare in lists. */
export const checkIndexes: Check = ({ app, schema }) => {
  const { knex, models, options } = app.perms
  const classes = [...new Set([...Object.values(models), ...options.models])]
    .map((cls) => modelClass(cls))
    .filter((cls) => Object.keys(definitionOf(cls).specs).length > 0)
  return columnsWithoutIndex(classes, schema, knex).map(({ table, column, rule }) =>
    warning(
      'indexes',
      `No index of '${table}' begins with ${column}, which ${rule} compares in each list.`,
      'Declare it with .index(), and run `npx objection-perms migrate make NAME`.',
    ),
  )
}
