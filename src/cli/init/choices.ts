/** The web frameworks that a generated application may use. */
export const frameworks = ['express', 'koa', 'fastify', 'hono'] as const
export type Framework = (typeof frameworks)[number]

export const languages = ['ts', 'js'] as const
export type Language = (typeof languages)[number]

export const databases = ['sqlite', 'pg', 'mariadb'] as const
export type Database = (typeof databases)[number]

/** The Knex clients of the databases. */
export type Client = 'sqlite3' | 'better-sqlite3' | 'pg' | 'mysql2'

/** The framework, language, database and other parts of the generated application. */
export interface Choices {
  readonly framework: Framework
  readonly language: Language
  readonly database: Database
  readonly client: Client
  /** Whether package.json has `"type": "module"`, or gets it. Files in JavaScript end with .mjs otherwise. */
  readonly isModule: boolean
}

/** Returns the ending of source files: ts, js or mjs. */
export function sourceExtension({ language, isModule }: Choices): 'ts' | 'js' | 'mjs' {
  if (language === 'ts') return 'ts'
  return isModule ? 'js' : 'mjs'
}

/** Returns the ending of a relative import. TypeScript files import each other as .js. */
export function importExtension(choices: Choices): 'js' | 'mjs' {
  return sourceExtension(choices) === 'mjs' ? 'mjs' : 'js'
}

/** Returns a function that keeps a text such as ': number' in TypeScript, and omits it in JavaScript. */
export function typesOf({ language }: Choices): (text: string) => string {
  return (text) => (language === 'ts' ? text : '')
}
