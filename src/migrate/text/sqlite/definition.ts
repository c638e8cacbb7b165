/** CREATE TABLE statements of SQLite in their parts, so that a changed table keeps everything that models do not declare. */
import { type SqlToken, sqlTokens } from '../../../database/catalogue/sql-tokens.js'
import { sqlName } from '../literals.js'
import { type ColumnClause, clausesIn } from './column-clauses.js'

/** A column with its clauses: NOT NULL, DEFAULT, COLLATE, CHECK, REFERENCES and so on. */
export interface DefinedColumn {
  readonly name: string
  readonly type: string
  readonly clauses: readonly ColumnClause[]
}

/** A constraint of the table. */
export interface DefinedConstraint {
  readonly kind: 'primary' | 'unique' | 'check' | 'foreign'
  readonly sql: string
  /** The name after CONSTRAINT. */
  readonly name: string | undefined
  /** The columns of a key. */
  readonly columns: readonly string[]
  /** The table that a foreign key refers to. */
  readonly target: string | undefined
}

/** A table. */
export interface Definition {
  readonly name: string
  readonly columns: readonly DefinedColumn[]
  readonly constraints: readonly DefinedConstraint[]
  /** The options after the parentheses, such as WITHOUT ROWID. */
  readonly options: string
}

const isSign = (token: SqlToken | undefined, text: string): boolean => token?.kind === 'sign' && token.text === text
const keywordOf = (token: SqlToken | undefined): string => (token?.kind === 'name' && !token.isQuoted ? token.text.toLowerCase() : '')

/**
 * Reads a CREATE TABLE statement.
 *
 * @example parseDefinition('create table `post` (`id` integer primary key)').columns[0]?.name // 'id'
 */
export function parseDefinition(statement: string): Definition {
  const sql = withQuotes(statement)
  const tokens = sqlTokens(sql, false, true)
  const open = tokens.findIndex((token) => isSign(token, '('))
  const close = tokens.findLastIndex((token) => isSign(token, ')'))
  const columns: DefinedColumn[] = []
  const constraints: DefinedConstraint[] = []
  for (const item of itemsOf(tokens.slice(open + 1, close))) {
    if (constraintWords.has(keywordOf(item[0]))) constraints.push(constraintOf(sql, item))
    else columns.push(columnOf(sql, item))
  }
  return { name: tokens[open - 1]?.text ?? '', columns, constraints, options: sql.slice(tokens[close]?.end).trim() }
}

const constraintWords = new Set(['constraint', 'primary', 'unique', 'check', 'foreign'])

// Backticks and brackets become double quotes, which all databases know.
function withQuotes(sql: string): string {
  return replaced(sql, (token) =>
    token.isQuoted && token.kind === 'name' && sql[token.start] !== '"' ? sqlName('sqlite', token.text) : undefined,
  )
}

/** Replaces tokens of SQL for which a function returns other text. */
function replaced(sql: string, replace: (token: SqlToken, next: SqlToken | undefined) => string | undefined): string {
  let [text, end] = ['', 0]
  const tokens = sqlTokens(sql, false, true)
  for (const [i, token] of tokens.entries()) {
    text += sql.slice(end, token.start) + (replace(token, tokens[i + 1]) ?? sql.slice(token.start, token.end))
    end = token.end
  }
  return text + sql.slice(end)
}

function itemsOf(tokens: readonly SqlToken[]): SqlToken[][] {
  const items: SqlToken[][] = [[]]
  let depth = 0
  for (const token of tokens) {
    depth += isSign(token, '(') ? 1 : isSign(token, ')') ? -1 : 0
    if (depth === 0 && isSign(token, ',')) items.push([])
    else items.at(-1)?.push(token)
  }
  return items.filter((item) => item.length > 0)
}

// A line break between tokens becomes a space. Inside a string it stays.
function textOf(sql: string, tokens: readonly SqlToken[]): string {
  const gap = (i: number) =>
    i === 0 ? '' : sql.slice(tokens[i - 1]?.end, tokens[i]?.start).trim() === '' && tokens[i - 1]?.end !== tokens[i]?.start ? ' ' : ''
  return tokens.map((token, i) => gap(i) + sql.slice(token.start, token.end)).join('')
}

function columnOf(sql: string, [name, ...rest]: readonly SqlToken[]): DefinedColumn {
  const { type, clauses } = clausesIn(rest, (tokens) => textOf(sql, tokens))
  return { name: name?.text ?? '', type, clauses }
}

function constraintOf(sql: string, item: readonly SqlToken[]): DefinedConstraint {
  const isNamed = keywordOf(item[0]) === 'constraint'
  const kind = keywordOf(item[isNamed ? 2 : 0]) as DefinedConstraint['kind']
  const references = item.findIndex((token) => keywordOf(token) === 'references')
  const columns = kind === 'check' ? [] : namesIn(references < 0 ? item : item.slice(0, references))
  return { kind, sql: textOf(sql, item), name: isNamed ? item[1]?.text : undefined, columns, target: item[references + 1]?.text }
}

// The first name after each parenthesis or comma: others are COLLATE, ASC and DESC.
function namesIn(tokens: readonly SqlToken[]): string[] {
  return tokens.filter((_, i) => isSign(tokens[i - 1], '(') || isSign(tokens[i - 1], ',')).map(({ text }) => text)
}

/** Returns the lines of the CREATE TABLE statement. @param name the name of the table in it */
export function definitionLines({ columns, constraints, options }: Definition, name: string): string[] {
  const parts = [
    ...columns.map((column) =>
      [sqlName('sqlite', column.name), column.type, ...column.clauses.map(({ sql }) => sql)].filter((part) => part !== '').join(' '),
    ),
    ...constraints.map(({ sql }) => sql),
  ]
  return [
    `create table ${sqlName('sqlite', name)} (`,
    ...parts.map((part, i) => `  ${part}${i === parts.length - 1 ? '' : ','}`),
    `)${options === '' ? '' : ` ${options}`}`,
  ]
}

/** Returns whether SQL names a column. */
export function mentions(sql: string, column: string): boolean {
  return sqlTokens(sql, false, true).some(({ kind, text }) => kind === 'name' && text.toLowerCase() === column.toLowerCase())
}

/** Returns SQL with another name for a column. */
export function renamedIn(sql: string, from: string, to: string): string {
  return replaced(sql, ({ kind, text }, next) =>
    kind === 'name' && text.toLowerCase() === from.toLowerCase() && !isSign(next, '(') ? sqlName('sqlite', to) : undefined,
  )
}
