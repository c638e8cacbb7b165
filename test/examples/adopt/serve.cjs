// Runs in the folder of `after`, on the database that fill.cjs filled. Prints what a client observes as JSON.
const { fakeClock } = require('objection-perms/testing')
const jwt = require('jsonwebtoken')
const knex = require(`${process.cwd()}/src/db`)
const { open } = require('./client.cjs')

const filled = JSON.parse(process.env.FILLED)
const secret = 'development-only-secret-of-the-tracker'

async function main() {
  await knex.migrate.latest()
  const { close, send } = await open(require(`${process.cwd()}/src/app`))
  const { tokens, ids } = filled
  const status = async (path, token) => (await send('GET', path, token)).status
  const me = async (...some) => Promise.all(some.map((token) => status('/auth/me', token)))
  const observed = {}
  observed.oldTokens = await me(tokens.ada, tokens.ben, tokens.cy)
  observed.shown = (await send('GET', `/tasks/${filled.task}`, tokens.ada)).body
  const credentials = { email: 'Ada@example.com', password: 'the password of ada' }
  const signedIn = await send('POST', '/auth/login', null, credentials)
  observed.oldPassword = [signedIn.status, signedIn.body.user?.id === ids.ada, JSON.stringify(signedIn.body).includes('$2')]
  observed.wrongPassword = (await send('POST', '/auth/login', null, { ...credentials, password: 'wrong' })).status
  const path = `/attachments/${filled.attachment}`
  observed.forgotten = [await status(path, tokens.ada), await status(path, tokens.ben), await status(path, undefined)]
  // Written by an admin and by nobody else: admins see all of the trail.
  observed.ownTrail = (await send('GET', '/audit', tokens.cy)).body.length
  await knex('users').where({ id: ids.cy }).update({ isAdmin: true })
  observed.wholeTrail = (await send('GET', '/audit', tokens.cy)).body.length
  observed.signOut = (await send('POST', '/auth/logout', tokens.ben)).status
  await knex('users').where({ id: ids.cy }).update({ isEnabled: false })
  observed.afterSignOutAndDisabling = await me(tokens.ada, tokens.ben, tokens.cy, signedIn.body.token)
  const lasting = jwt.sign({ id: ids.ada, admin: true }, secret, { expiresIn: '1y' })
  const foreign = jwt.sign({ id: ids.ada }, 'some other secret, 32 bytes or more than that')
  observed.lasting = await me(lasting, foreign)
  const clock = fakeClock(new Date(process.env.OLD_TOKENS_UNTIL))
  observed.afterTheEnd = await me(lasting)
  clock.restore()
  await close()
  await require(`${process.cwd()}/src/perms`).close()
  await knex.destroy()
  console.log(JSON.stringify(observed))
}

main()
