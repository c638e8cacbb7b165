/** Writes an ordinary Knex migration from the differences of two schemas. */
import type { Knex } from 'knex'
import type { DatabaseSchema, SchemaChange } from '../../database/catalogue/schema-types.js'
import { appliedSchema } from './applied.js'
import { type Block, type CodeContext, indented } from './code.js'
import { Naming } from './names.js'
import { refusalOfDown, serverBlocks } from './server-blocks.js'
import { definitionsOf, sqliteCode } from './sqlite/blocks.js'
import { foreignKeysFunction, rebuildFunction } from './sqlite/helpers.js'
import { type Step, stepsDown, stepsUp } from './steps.js'

/** The language of a migration: TypeScript, JavaScript with `export`, or JavaScript with `exports`. */
export type MigrationLanguage = 'ts' | 'esm' | 'cjs'

/** The settings that the text of a migration depends on. */
export interface MigrationTextOptions {
  /** An instance with the settings of the application: names are written as its migrations write them. */
  readonly knex: Knex
  /** The schema that the application's migrations make. */
  readonly from: DatabaseSchema
  readonly language: MigrationLanguage
  /** Whether steps that lose values run, instead of standing in a comment. */
  readonly allowLoss: boolean
  /** The library's tables, to which `perms.migrate()` may have added the columns already. */
  readonly libraryTables: ReadonlySet<string>
}

/** The code of a function of the migration, and whether it needs a connection without foreign keys. */
interface Direction {
  readonly blocks: readonly Block[]
  readonly needsNoForeignKeys: boolean
}

/**
 * Returns the text of a migration.
 *
 * @param changes the differences, in the order of compareSchemas()
 */
export function migrationText(changes: readonly SchemaChange[], options: MigrationTextOptions): string {
  const { from, allowLoss } = options
  const { dialect } = from
  const up = stepsUp(changes, { dialect, from, allowLoss })
  const applied = up.filter(({ isDisabled }) => !isDisabled).map(({ change }) => change)
  const after = appliedSchema(from, applied)
  const down = stepsDown(up, after)
  const refusal = refusalOfDown(up)
  const code = directions(up, down, after, options)
  const downCode: Direction = refusal === undefined ? code.down : { blocks: [{ lines: [refusal] }], needsNoForeignKeys: false }
  return fileText(code.up, downCode, options)
}

function directions(
  up: readonly Step[],
  down: readonly Step[],
  after: DatabaseSchema,
  options: MigrationTextOptions,
): { up: Direction; down: Direction } {
  const { from, knex, libraryTables } = options
  const naming = new Naming(knex)
  const context: CodeContext = { dialect: from.dialect, naming, knex: 'knex', libraryTables, isDown: false }
  const contextDown: CodeContext = { ...context, isDown: true }
  if (from.dialect !== 'sqlite') {
    const written = (steps: readonly Step[], of: CodeContext) => ({ blocks: serverBlocks(steps, of), needsNoForeignKeys: false })
    return { up: written(up, context), down: written(down, contextDown) }
  }
  // The name of the connection depends on the code: a first pass tells whether it replaces tables.
  const write = (knexName: string) => {
    const upCode = sqliteCode(up, from, definitionsOf(from), { ...context, knex: knexName })
    return { up: upCode, downWith: (name: string) => sqliteCode(down, after, upCode.definitions, { ...contextDown, knex: name }) }
  }
  const first = write('knex')
  const downCode = first.downWith('knex')
  return {
    up: first.up.needsNoForeignKeys ? write('trx').up : first.up,
    down: downCode.needsNoForeignKeys ? first.downWith('trx') : downCode,
  }
}

function fileText(up: Direction, down: Direction, { language }: MigrationTextOptions): string {
  const isTypeScript = language === 'ts'
  const needsHelpers = up.needsNoForeignKeys || down.needsNoForeignKeys
  const replacesTables = [...up.blocks, ...down.blocks].some(({ lines }) => lines.some((line) => line.includes('rebuildTable(')))
  const parts = [
    ...(isTypeScript ? ["import type { Knex } from 'knex'"] : []),
    ...(needsHelpers
      ? [
          `// The functions open transactions of their own.\n${language === 'cjs' ? 'exports.config =' : 'export const config ='} { transaction: false }`,
        ]
      : []),
    functionText('up', up, language),
    functionText('down', down, language),
    ...(replacesTables ? [rebuildFunction(isTypeScript)] : []),
    ...(needsHelpers ? [foreignKeysFunction(isTypeScript)] : []),
  ]
  return `${parts.join('\n\n')}\n`
}

function functionText(name: 'up' | 'down', { blocks, needsNoForeignKeys }: Direction, language: MigrationLanguage): string {
  const body = blocks.map(blockLines).flatMap((lines, i) => (i === 0 ? lines : ['', ...lines]))
  const lines = needsNoForeignKeys ? ['await withoutForeignKeys(knex, async (trx) => {', ...body.map(indented), '})'] : body
  const heads = {
    ts: `export async function ${name}(knex: Knex): Promise<void> {`,
    esm: `/** @param {import('knex').Knex} knex */\nexport async function ${name}(knex) {`,
    cjs: `/** @param {import('knex').Knex} knex */\nexports.${name} = async function ${name}(knex) {`,
  }
  return [heads[language], ...lines.map(indented), '}'].join('\n')
}

function blockLines({ comments = [], lines, isDisabled }: Block): string[] {
  const commented = (line: string) => `// ${line}`
  return [...comments.map(commented), ...(isDisabled ? lines.map(commented) : lines)]
}
