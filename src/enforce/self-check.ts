import { Model, raw } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { enterAsActor } from '../policy/context.js'
import { where } from '../policy/rules.js'
import { openBuilder, queryNamesOf } from '../query/objection-internals.js'
import { column } from '../schema/column.js'
import { BasePermsModel } from './base-perms-model.js'

const open = where({ isOpen: true })

class PermsSelfCheck extends BasePermsModel.withColumns({ some: column.integer(), isOpen: column.boolean() }) {
  static override tableName = 'perms_self_check'

  static override policy = { read: open, update: open, delete: open }

  static override relationMappings = {
    linked: {
      relation: Model.ManyToManyRelation,
      modelClass: PermsSelfCheck,
      join: {
        from: 'perms_self_check.id',
        through: { from: 'perms_self_link.from_id', to: 'perms_self_link.to_id' },
        to: 'perms_self_check.id',
      },
    },
  }
}

/**
 * Checks that the installed versions of Objection and Knex build queries as PolicyEnforcer expects.
 *
 * @throws ConfigurationError if they do not, because policies would not be enforced
 */
export function selfCheck(): void {
  const build = () =>
    enterAsActor(null, () => {
      const query = PermsSelfCheck.query().where('some', 1).orWhere('some', 2)
      const outer = PermsSelfCheck.query().whereIn('id', query.clone().select('id'))
      return [query, outer].map((builder) => builder.toKnexQuery().toString())
    })
  const [plain = '', nested = ''] = build().map((text) => text.replace(/["`]/g, '').toLowerCase())
  const rule = /\(?perms_self_check\.is_open = (true|1|'1')\)?/
  const isGrouped = new RegExp(`where \\(some = 1 or some = 2\\) and ${rule.source}$`).test(plain)
  const isNested = (nested.match(new RegExp(rule.source, 'g')) ?? []).length === 2
  if (!isGrouped || !isNested || !rejectsWidenedQueries() || !refusesWritesAsText() || !checksLinks() || !keepsRawValuesApart()) {
    throw new ConfigurationError(
      'The installed version of Objection or Knex builds queries in an unknown way, so policies would not be enforced. Install objection ^3.1.5 and knex >=3.2.9 <4, and report the versions.',
    )
  }
}

// Returns whether a knex query that the application widened is rejected, alone and inside another query.
function rejectsWidenedQueries(): boolean {
  return enterAsActor(null, () => {
    const widened = openBuilder(PermsSelfCheck.query().where('some', 1)).toKnexQuery().orWhereRaw('1 = 1')
    const ways = [() => widened.toString(), () => widened.client.queryBuilder().from(widened.as('t')).toString()]
    return ways.every((way) => {
      try {
        way()
        return false
      } catch (error) {
        return error instanceof ConfigurationError
      }
    })
  })
}

// Returns whether knex queries of writes are rejected, because beforeWrite() did not run for them.
function refusesWritesAsText(): boolean {
  return enterAsActor(null, () =>
    [
      PermsSelfCheck.query().insert({ some: 1, isOpen: true }),
      PermsSelfCheck.query().patch({ some: 2 }).where('some', 1),
      PermsSelfCheck.query().delete().where('some', 1),
    ].every((write) => {
      try {
        write.toKnexQuery()
        return false
      } catch (error) {
        return error instanceof ConfigurationError
      }
    }),
  )
}

// Returns whether reading and removing links adds the rules of the models at both ends.
function checksLinks(): boolean {
  return enterAsActor(null, () =>
    [PermsSelfCheck.relatedQuery('linked').for('1'), PermsSelfCheck.relatedQuery('linked').for('1').unrelate()].every((query) => {
      const text = query.toKnexQuery().toString().toLowerCase()
      return (text.match(/perms_end[`"]?\.[`"]?is_open/g) ?? []).length >= 2
    }),
  )
}

// Returns whether Objection keeps values of raw() where PolicyEnforcer looks for them.
function keepsRawValuesApart(): boolean {
  const row = PermsSelfCheck.fromJson({ some: raw('1') }, { patch: true })
  return queryNamesOf(row).includes('some')
}
