import type { Choices, Client, Database } from '../choices.js'

/** Returns a strict tsconfig.json. The application runs from its sources; `npx tsc` checks the types. */
export function tsconfig(): string {
  const compilerOptions = {
    target: 'es2023',
    module: 'nodenext',
    lib: ['es2023'],
    types: ['node'],
    strict: true,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
    noImplicitOverride: true,
    skipLibCheck: true,
    noEmit: true,
  }
  return `${JSON.stringify({ compilerOptions, include: ['src', 'test', 'migrations'] }, null, 2).replace(/\[\s+([^\]]+?)\s+\]/g, (_, items: string) => `[${items.replace(/\s+/g, ' ')}]`)}\n`
}

/** Returns .env.example: the names of the variables, without values. An existing file gets those that it lacks. */
export function environmentExample({ database }: Choices, present?: string): string | undefined {
  if (present === undefined) return newEnvironmentExample(database)
  const names = [...newEnvironmentExample(database).matchAll(/^(\w+)=$/gm)].map(([, name]) => String(name))
  const missing = names.filter((name) => !new RegExp(`^\\s*(?:export\\s+)?#?\\s*${name}\\s*=`, 'm').test(present))
  if (missing.length === 0) return undefined
  return `${present}${present.endsWith('\n') || present === '' ? '' : '\n'}${missing.map((name) => `${name}=\n`).join('')}`
}

function newEnvironmentExample(database: Database): string {
  return `# Copy this file to .env, and fill in the values. Git ignores .env.

# The secret that signs access tokens, at least 32 bytes: npx objection-perms secret
JWT_SECRET=

${databaseVariables[database]}
# The address that the server listens on. Default: 127.0.0.1, port 3000.
HOST=
PORT=
`
}

const serverVariables = (example: string) => `# The database, such as ${example}
DATABASE_URL=

# Another database for npm test, which creates and deletes rows in it.
TEST_DATABASE_URL=
`

const databaseVariables: Readonly<Record<Database, string>> = {
  sqlite: `# The file of the database. Default: app.db.
DATABASE_URL=
`,
  pg: serverVariables('postgres://USER@127.0.0.1:5432/DATABASE'),
  mariadb: serverVariables('mysql://USER@127.0.0.1:3306/DATABASE'),
}

/** Returns the lines that .gitignore needs. */
export function ignoredFiles({ client }: { readonly client: Client }): readonly string[] {
  const database = client === 'sqlite3' || client === 'better-sqlite3' ? ['*.db', '*.db-journal', '*.db-shm', '*.db-wal'] : []
  return ['node_modules/', '.env', ...database]
}

/** Returns a .gitignore with the missing lines added, or undefined if none is missing. */
export function mergeGitignore(text: string | undefined, choices: Choices): string | undefined {
  const present = new Set((text ?? '').split(/\r?\n/).map((line) => line.trim().replace(/^\//, '').replace(/\/$/, '')))
  const missing = ignoredFiles(choices).filter((line) => !present.has(line.replace(/\/$/, '')))
  if (missing.length === 0) return undefined
  const before = text === undefined || text === '' ? '' : text.endsWith('\n') ? text : `${text}\n`
  return `${before}${missing.join('\n')}\n`
}
