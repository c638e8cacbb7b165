// Runs in the folder of `before`: fills a database as the application did before the adoption. Prints what it did as JSON.
const knex = require(`${process.cwd()}/src/db`)
const { open } = require('./client.cjs')

async function main() {
  await knex.migrate.latest()
  const { close, send } = await open(require(`${process.cwd()}/src/app`))
  const tokens = {}
  const ids = {}
  for (const name of ['ada', 'ben', 'cy']) {
    const credentials = { email: `${name}@example.com`, password: `the password of ${name}` }
    ids[name] = (await send('POST', '/auth/register', null, { ...credentials, name })).body.id
    tokens[name] = (await send('POST', '/auth/login', null, credentials)).body.token
  }
  const made = async (path, body) => (await send('POST', path, tokens.ada, body)).body
  const customer = await made('/customers', { name: 'Acme', email: 'office@acme.example' })
  const folder = await made('/folders', { name: 'Work' })
  const inner = await made('/folders', { name: '2026', parentId: folder.id })
  const project = await made('/projects', { title: 'Website', customerId: customer.id, folderId: inner.id })
  const task = await made('/tasks', { title: 'Draw a logo', projectId: project.id, estimate: 3, dueOn: '2026-12-24' })
  await made(`/tasks/${task.id}/comments`, { body: 'In green, please.' })
  await made(`/tasks/${task.id}/tags`, { name: 'design' })
  const attachment = await made(`/tasks/${task.id}/attachments`, { filename: 'offer.pdf', size: 1200 })
  const forgotten = (await send('GET', `/attachments/${attachment.id}`, tokens.ben)).status
  const shown = (await send('GET', `/tasks/${task.id}`, tokens.ada)).body
  await close()
  await knex.destroy()
  console.log(JSON.stringify({ tokens, ids, task: task.id, attachment: attachment.id, forgotten, shown }))
}

main()
