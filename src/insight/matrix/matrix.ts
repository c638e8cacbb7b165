import type { Model } from 'objection'
import { ConfigurationError } from '../../core/errors.js'
import { assertKnownOptions, type OptionNames } from '../../core/known-options.js'
import { type ActionName, crudActions } from '../../policy/actions.js'
import type { Resolved } from '../../policy/policy.js'
import { modelClass } from '../../schema/model-class.js'
import { wordsOf } from '../expression.js'
import { policiesOf, ruleWords } from '../leaves.js'
import { callersOf } from './callers.js'
import { accessOf } from './evaluate.js'
import { matrixHtml } from './html.js'
import { matrixMarkdown } from './markdown.js'

/** The access of a kind of caller to the rows of a model: all of them, none, or those that satisfy a condition. */
export interface MatrixCell {
  readonly caller: string
  readonly access: 'all' | 'some' | 'none'
  /** The condition in words. Only for 'some'. */
  readonly condition?: string
}

/** A model of a matrix. */
export interface MatrixModel {
  readonly name: string
  /** Conditions that apply to every action besides the rules, such as that of soft deletion. */
  readonly always: readonly string[]
  readonly actions: readonly { readonly action: ActionName; readonly cells: readonly MatrixCell[] }[]
}

/** The permissions of an application: callers × models × actions. */
export interface PermissionMatrix {
  readonly callers: readonly string[]
  readonly models: readonly MatrixModel[]
  /** Returns the matrix as Markdown: a table for each model, and the conditions below it. */
  toMarkdown(): string
  /** Returns the matrix as a value for JSON. */
  toJSON(): { readonly callers: readonly string[]; readonly models: readonly MatrixModel[] }
  /** Returns a page with a heat map, which loads nothing. */
  toHtml(): string
}

export interface MatrixOptions {
  /** Further roles for columns, besides those that rules name and `initPerms({ roles })` declares. Default: none. */
  readonly roles?: readonly string[] | undefined
  /** The heading. Default: 'Permissions' */
  readonly title?: string | undefined
}

const optionNames: OptionNames<MatrixOptions> = { roles: true, title: true }

/**
 * Returns the permissions of kinds of callers on models, from the policies alone: nothing is read from the database. The same models
 * give the same text, so that a file can be compared.
 *
 * @param models classes with a policy, in the order of the output
 * @throws ConfigurationError for invalid rules, and without a class that has a policy
 * @example
 * console.log(matrix([Critter, UserDocument]).toMarkdown())
 */
export function matrix(models: readonly (abstract new (...args: never[]) => Model)[], options: MatrixOptions = {}): PermissionMatrix {
  assertKnownOptions(options, optionNames, 'matrix(models, ...)')
  const policies = policiesOf(models)
  if (policies.size === 0) throw new ConfigurationError('matrix() needs classes with a policy, for example matrix([Post, Article]).')
  const callers = callersOf(policies, options.roles)
  const list = [...policies].map(([cls, policy]): MatrixModel => {
    const cellsOf = (action: ActionName) => callers.map((caller) => cellOf(caller.name, accessOf(cls, policy, action, caller)))
    return {
      name: modelClass(cls).name,
      always: alwaysOf(policy),
      actions: [...crudActions, ...policy.named.keys()].map((action) => ({ action, cells: cellsOf(action) })),
    }
  })
  const content = { callers: callers.map(({ name }) => name), models: list }
  const title = options.title ?? 'Permissions'
  return {
    ...content,
    toJSON: () => content,
    toMarkdown: () => matrixMarkdown(content, title),
    toHtml: () => matrixHtml(content, title),
  }
}

function cellOf(caller: string, access: ReturnType<typeof accessOf>): MatrixCell {
  if (typeof access === 'boolean') return { caller, access: access ? 'all' : 'none' }
  return { caller, access: 'some', condition: wordsOf(access) }
}

const alwaysOf = ({ globalScopes }: Resolved): readonly string[] => globalScopes.map(({ name, rule }) => `${name}: ${ruleWords(rule)}`)
