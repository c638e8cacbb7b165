/** Compiles comparisons of columns with values. */
import { ConfigurationError } from '../../core/errors.js'
import { type ColumnSpec, MAX_DECIMAL_PRECISION } from '../../schema/column.js'
import { structureOf } from '../../schema/definition/definition.js'
import { existingText, likeSql, needsSqlValue } from '../../schema/existing-storage.js'
import { globOf, likeOf } from '../../schema/like-patterns.js'
import { encode, sqlValue } from '../../schema/storage.js'
import { normalize } from '../../schema/values.js'
import { isComparison, type WhereRule } from '../rules.js'
import { compareValues, isLike } from './compare.js'
import { all, any, type Condition, negate, sql } from './condition.js'
import { columnSql, type Scope } from './scope.js'

/** Compiles where(). */
export function whereCondition(rule: WhereRule, scope: Scope): Condition {
  return all(...Object.entries(rule.conditions).map(([name, asked]) => columnCondition(name, asked, scope)))
}

function columnCondition(name: string, asked: unknown, scope: Scope): Condition {
  if (asked === null) return comparison(name, 'null', true, scope)
  if (Array.isArray(asked)) return comparison(name, 'in', asked, scope)
  if (!isComparison(asked)) return comparison(name, 'eq', asked, scope)
  return all(...Object.entries(asked).map(([operator, value]) => comparison(name, operator, value, scope)))
}

// SQLite compares non-integers as doubles, which are exact for this many digits.
const exactOnSqlite = 15

// A column that nobody declared is compared like text, byte by byte, unless the value may be a datetime or a number.
const undeclaredText = (asked: unknown): ColumnSpec | undefined =>
  typeof asked === 'string' && !/^\s*[-+.]?\d/.test(asked) ? existingText : undefined

const isOrdering = (operator: string): boolean => operator in signs && operator !== 'eq' && operator !== 'ne'

const signs: Readonly<Record<string, string>> = { eq: '=', ne: '<>', gt: '>', gte: '>=', lt: '<', lte: '<=' }

function comparison(name: string, operator: string, asked: unknown, scope: Scope): Condition {
  const spec = structureOf(scope.cls).specs[name]
  const value = (given: unknown): unknown => {
    if (!spec || given === null) return given
    const checked = normalize(spec, given)
    if (checked.error !== undefined)
      throw new ConfigurationError(
        `${scope.cls.name}: the policy compares ${name} with a value that the column cannot hold: it ${checked.error}.`,
      )
    return checked.value
  }
  if ((operator === 'eq' || operator === 'ne') && asked === null) return comparison(name, 'null', operator === 'eq', scope)
  // The types forbid null here. For untyped code, both forms return false.
  if (asked === null) return false
  if (operator === 'in' || operator === 'notIn') {
    const list = (asked as readonly unknown[]).map((one) => columnCondition(name, one, scope))
    // Comparisons with NULL are false, for notIn as well.
    return operator === 'in' ? any(...list) : all(comparison(name, 'null', false, scope), negate(any(...list)))
  }
  if (
    scope.dialect === 'sqlite' &&
    spec?.type === 'decimal' &&
    (spec.precision ?? MAX_DECIMAL_PRECISION) > exactOnSqlite &&
    isOrdering(operator)
  ) {
    throw new ConfigurationError(
      `${scope.cls.name}: the policy compares ${name} by size, which SQLite does exactly only up to ${exactOnSqlite} digits. Compare with eq or in, or declare fewer digits.`,
    )
  }
  if (scope.row) {
    const held = (scope.row[name] ?? null) as unknown
    if (operator === 'null') return (held === null) === Boolean(asked)
    if (held === null) return false
    if (operator === 'like') return isLike(String(held), String(asked))
    return compareValues(spec, operator, held, value(asked))
  }
  const column = columnSql(scope, name)
  if (operator === 'null') return sql(`${column.sql} is ${asked ? '' : 'not '}null`, ...column.bindings)
  if (operator === 'like') {
    const pattern = String(asked)
    return scope.dialect === 'sqlite'
      ? sql(`${column.sql} glob ?`, ...column.bindings, globOf(pattern))
      : sql(`${spec && !spec.isExisting ? column.sql : likeSql(column.sql, scope.dialect)} like ?`, ...column.bindings, likeOf(pattern))
  }
  const bound = spec ? encode(spec, value(asked), scope.dialect) : asked
  const isOrder = isOrdering(operator)
  const type = spec ?? undeclaredText(asked)
  const isConverted = type && (isOrder || needsSqlValue(type, scope.dialect))
  const left = isConverted ? sqlValue(type, column.sql, scope.dialect) : column.sql
  const right = isConverted ? sqlValue(type, '?', scope.dialect) : '?'
  const exact = sql(`${left} ${signs[operator]} ${right}`, ...column.bindings, bound)
  // MariaDB finds the rows by an index, and compares them byte by byte.
  return isConverted && operator === 'eq' && scope.dialect === 'mysql'
    ? all(sql(`${column.sql} = ?`, ...column.bindings, bound), exact)
    : exact
}
