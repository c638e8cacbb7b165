/** Boolean expressions whose leaves are conditions in words, simplified as they are built. */

/** A condition of which only the words are known. */
export interface Condition {
  readonly kind: 'condition'
  readonly words: string
}

interface Combination {
  readonly kind: 'and' | 'or'
  readonly parts: readonly Exclude<Expression, boolean>[]
}

interface Negation {
  readonly kind: 'not'
  readonly part: Exclude<Expression, boolean>
}

export type Expression = boolean | Condition | Combination | Negation

export const condition = (words: string): Condition => ({ kind: 'condition', words })

/** Returns the conjunction; true for none. */
export const and = (...parts: readonly Expression[]): Expression => combine('and', parts)

/** Returns the disjunction; false for none. */
export const or = (...parts: readonly Expression[]): Expression => combine('or', parts)

/** Returns the negation. */
export function not(part: Expression): Expression {
  if (typeof part === 'boolean') return !part
  return part.kind === 'not' ? part.part : { kind: 'not', part }
}

function combine(kind: 'and' | 'or', given: readonly Expression[]): Expression {
  const absorbing = kind === 'or'
  const parts = new Map<string, Exclude<Expression, boolean>>()
  for (const part of given) {
    if (part === absorbing) return absorbing
    if (typeof part === 'boolean') continue
    for (const one of part.kind === kind ? part.parts : [part]) parts.set(wordsOf(one), one)
  }
  const list = [...parts.values()]
  if (list.some((part) => parts.has(wordsOf(not(part))))) return absorbing
  // `a or (a and b)` is `a`.
  const needed = list.filter((part) => !isCombination(part, kind) || !part.parts.some((inner) => parts.has(wordsOf(inner))))
  const [first] = needed
  if (first === undefined) return !absorbing
  return needed.length === 1 ? first : { kind, parts: needed }
}

const isCombination = (part: Exclude<Expression, boolean>, outer: 'and' | 'or'): part is Combination =>
  (part.kind === 'and' || part.kind === 'or') && part.kind !== outer

/** Returns an expression in words. */
export function wordsOf(expression: Expression): string {
  if (typeof expression === 'boolean') return expression ? 'everyone' : 'nobody'
  if (expression.kind === 'condition') return expression.words
  if (expression.kind === 'not') return `not ${inParentheses(expression.part)}`
  return expression.parts.map(inParentheses).join(` ${expression.kind} `)
}

const inParentheses = (part: Exclude<Expression, boolean>): string =>
  part.kind === 'and' || part.kind === 'or' ? `(${wordsOf(part)})` : wordsOf(part)
