// Run as an ES module and as CommonJS: both reach the same library.
import knexModule from 'knex'
import { initPerms, Role, User, UserRole } from 'objection-perms'

const knex = knexModule({ client: 'better-sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })

async function main(): Promise<void> {
  const perms = initPerms({ knex, jwt: { secret: 'a secret of a consumer, long enough' } })
  await perms.migrate()
  const user = await User.create({ email: 'ada@example.com', password: 'correct horse battery' })
  await UserRole.create({ user, role: Role.ADMIN })
  const { User: imported } = await import('objection-perms')
  console.log(JSON.stringify({ admin: user.hasRole(Role.ADMIN), same: imported === User }))
  await perms.close()
  await knex.destroy()
}

void main()
