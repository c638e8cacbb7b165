import { randomBytes } from 'node:crypto'
import { asSystem, User } from 'objection-perms'

const password = 'correct horse battery'

interface Welcome {
  readonly base: string
  /** Only where the password may be shown. */
  readonly admin: { readonly email: string; readonly password: string } | undefined
}

/** The lines that are printed at start: each works when it is pasted into a shell, in their order. */
export async function welcomeLines({ base, admin }: Welcome): Promise<string[]> {
  const email = await freeAddress()
  const json = (value: object) => `-H 'Content-Type: application/json' -d ${quoted(JSON.stringify(value))}`
  const field = `node -p 'JSON.parse(fs.readFileSync(0, "utf8")).access_token'`
  const as = (variable: string) => `-H "Authorization: Bearer $${variable}"`
  return [
    '# Register, sign in, and see who you are',
    `curl -sw '\\n' ${base}/auth/register ${json({ email, password })}`,
    `TOKEN=$(curl -s ${base}/auth/login ${json({ email, password })} | ${field})`,
    `curl -sw '\\n' ${base}/auth/profile ${as('TOKEN')}`,
    `curl -sw '\\n' ${base}/api/users/me/ ${as('TOKEN')}`,
    '# Your documents are seen by you and by admins',
    `curl -sw '\\n' ${base}/api/documents/ ${as('TOKEN')} ${json({ title: 'Diary', content: 'Fed the otters.' })}`,
    `curl -sw '\\n' ${base}/api/documents/ ${as('TOKEN')}`,
    '# Animals that can be adopted are seen by everyone',
    `curl -sw '\\n' ${base}/api/critters/ ${as('TOKEN')} ${json({ name: 'Otto', species: 'otter' })}`,
    `curl -sw '\\n' ${base}/api/critters/`,
    ...(admin
      ? [
          '# The admin sees all',
          `ADMIN=$(curl -s ${base}/api/users/login/ ${json({ email: admin.email, password: admin.password })} | ${field})`,
          `curl -sw '\\n' ${base}/reports ${as('ADMIN')}`,
          `curl -sw '\\n' ${base}/api/users/ ${as('ADMIN')}`,
        ]
      : []),
  ]
}

// On a database that is kept, ada may be there from the last time.
async function freeAddress(): Promise<string> {
  const taken = await asSystem(() => User.getBy({ email: 'ada@example.com' }))
  return taken ? `ada-${randomBytes(3).toString('hex')}@example.com` : 'ada@example.com'
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
