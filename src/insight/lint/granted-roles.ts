/** Finds roles that rules name and nobody holds. */
import type { Knex } from 'knex'
import { namesNear } from '../../core/nearest-names.js'
import { rolesDeclared } from '../../policy/declared-roles.js'
import { userTables } from '../../policy/user-tables.js'
import { actionRulesOf, leavesOf, ruleWords } from '../leaves.js'
import type { Examined, LintFinding } from './finding.js'

const builtIn: readonly string[] = ['admin', 'superadmin', 'user']

/** Reports roles that no grant has, once there are grants of other roles. Declared roles cannot be misspelled, so they are for information. */
export async function rolesWithoutGrants(models: readonly Examined[], knex: Knex): Promise<LintFinding[]> {
  const granted = await grantedRoles(knex)
  const declared = rolesDeclared()
  if (granted.filter((role) => !builtIn.includes(role)).length === 0) return []
  const seen = new Set<string>()
  return models.flatMap(({ name, cls, policy }) =>
    actionRulesOf(policy).flatMap(({ action, rule }) =>
      [...leavesOf(cls, rule)].flatMap(({ rule: leaf, path }): LintFinding[] => {
        const roles = 'roles' in leaf ? (leaf.roles ?? []) : []
        const missing = roles.filter((role) => !builtIn.includes(role) && !granted.includes(role) && !seen.has(`${name} ${role}`))
        for (const role of missing) seen.add(`${name} ${role}`)
        return missing.map((role) => ({
          code: 'role-not-granted',
          severity: declared.includes(role) ? 'info' : 'warning',
          model: name,
          action,
          leaf: { path, words: ruleWords(leaf) },
          reason: `No user holds the role '${role}'.`,
          fix: fixFor(role, [...granted, ...declared]),
        }))
      }),
    ),
  )
}

function fixFor(role: string, known: readonly string[]): string {
  const [near] = namesNear(
    role,
    known.filter((name) => name !== role),
  )
  return near === undefined
    ? 'Grant it, or remove it from the rule.'
    : `Did you mean '${near}'? Otherwise grant it, or remove it from the rule.`
}

async function grantedRoles(knex: Knex): Promise<readonly string[]> {
  const { table, column } = userTables().userRole
  const rows: readonly object[] = await knex(table).distinct(column('role'))
  return rows.map((row) => String(Object.values(row)[0]))
}
