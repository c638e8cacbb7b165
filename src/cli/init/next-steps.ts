import type { Choices, Database } from './choices.js'

/** The address and port of the generated server, unless .env names others. */
const SERVER = 'http://127.0.0.1:3000'

const serverSteps = (address: string) => [
  `echo "DATABASE_URL=${address}/DATABASE" >> .env`,
  `echo "TEST_DATABASE_URL=${address}/TEST_DATABASE" >> .env`,
]

const databaseSteps: Readonly<Record<Database, readonly string[]>> = {
  sqlite: [],
  pg: serverSteps('postgres://USER:PASSWORD@127.0.0.1:5432'),
  mariadb: serverSteps('mysql://USER:PASSWORD@127.0.0.1:3306'),
}

/** The state of the project, which the printed steps depend on besides the choices. */
export interface Situation {
  /** The folder to change to, relative to the working directory; '' for none. */
  readonly folder: string
  /** Scripts of package.json that have another command than the generated application needs. */
  readonly keptScripts: readonly string[]
  /** The scripts of the generated application. */
  readonly scripts: Readonly<Record<string, string>>
}

/** Returns the shell commands that lead from the written files to a running API, and requests to it. */
export function nextSteps(choices: Choices, { folder, keptScripts, scripts }: Situation): string[] {
  const script = (name: 'start' | 'test') => {
    if (keptScripts.includes(name))
      return `npx ${String(scripts[name]).replace(/^node --import tsx /, 'tsx ')}`.replace(/^npx node /, 'node ')
    return name === 'start' ? 'npm start' : 'npm test'
  }
  return [
    ...(folder === '' ? [] : [`cd ${shellWord(folder)}`]),
    'npm install',
    'echo "JWT_SECRET=$(npx objection-perms secret)" >> .env',
    ...databaseSteps[choices.database],
    'npx objection-perms migrate up',
    'npx objection-perms create-superuser --email admin@example.com',
    script('test'),
    script('start'),
  ]
}

/** Quotes a path for a shell where it needs that. */
const shellWord = (path: string): string => (/^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`)

/** Returns requests for a second terminal: sign in, create a note, list the notes, and list them as an anonymous caller. */
export function firstRequests(): string[] {
  const json = "-H 'content-type: application/json'"
  const credentials = '{ "email": "admin@example.com", "password": "PASSWORD" }'
  const token = `node -p 'JSON.parse(fs.readFileSync(0)).access_token'`
  return [
    `TOKEN=$(curl -s ${SERVER}/api/users/login/ ${json} -d '${credentials}' | ${token})`,
    `curl -s ${SERVER}/api/notes/ -H "authorization: Bearer $TOKEN" ${json} -d '{ "title": "Hello", "text": "World" }'`,
    `curl -s ${SERVER}/api/notes/ -H "authorization: Bearer $TOKEN"`,
    `curl -s ${SERVER}/api/notes/`,
  ]
}
