const assert = require('node:assert/strict')
const { rmSync } = require('node:fs')
const { tmpdir } = require('node:os')
const { join } = require('node:path')

process.env.DATABASE_FILE = join(tmpdir(), `tracker-${process.pid}.db`)
const knex = require('../src/db')
const app = require('../src/app')

let url
let server
const call = async (method, path, { token, ...body } = {}) => {
  const response = await fetch(url + path, {
    method,
    headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
    ...(method !== 'GET' && { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, body: text && JSON.parse(text) }
}
const post = (path, options) => call('POST', path, options)
const get = (path, token) => call('GET', path, { token })
const signUp = async (name) => {
  const credentials = { email: `${name}@example.com`, password: `the password of ${name}` }
  await post('/auth/register', { ...credentials, name })
  const { body } = await post('/auth/login', credentials)
  return body.token
}

describe('the tracker', () => {
  let ada
  let ben

  before(async () => {
    await knex.migrate.latest()
    server = await new Promise((resolve) => {
      const started = app.listen(0, '127.0.0.1', () => resolve(started))
    })
    url = `http://127.0.0.1:${server.address().port}`
    ada = await signUp('ada')
    ben = await signUp('ben')
  })

  after(async () => {
    server.close()
    await knex.destroy()
    rmSync(process.env.DATABASE_FILE, { force: true })
  })

  it('signs in with the right password only', async () => {
    assert.equal((await post('/auth/login', { email: 'ada@example.com', password: 'wrong' })).status, 401)
    const { status, body } = await get('/auth/me', ada)
    assert.equal(status, 200)
    assert.equal(body.email, 'ada@example.com')
    assert.equal(body.password, undefined)
    assert.equal((await get('/customers', undefined)).status, 401)
    assert.equal((await get('/customers', 'no token')).status, 401)
  })

  it('refuses an email twice', async () => {
    assert.equal((await post('/auth/register', { email: 'ada@example.com', password: 'another password', name: 'Ada' })).status, 409)
  })

  it('keeps customers of one user from another', async () => {
    const { status, body: customer } = await post('/customers', { token: ada, name: 'Acme', email: 'office@acme.example' })
    assert.equal(status, 201)
    assert.equal((await get('/customers', ada)).body.length, 1)
    assert.equal((await get('/customers', ben)).body.length, 0)
    assert.equal((await get(`/customers/${customer.id}`, ben)).status, 404)
    assert.equal((await call('PATCH', `/customers/${customer.id}`, { token: ben, name: 'Mine' })).status, 404)
    assert.equal((await call('DELETE', `/customers/${customer.id}`, { token: ben })).status, 404)
    const { body: changed } = await call('PATCH', `/customers/${customer.id}`, { token: ada, name: 'Acme Ltd' })
    assert.equal(changed.name, 'Acme Ltd')
    assert.equal((await post('/customers', { token: ada, name: '' })).status, 422)
  })

  it('shows the tree of folders', async () => {
    const { body: root } = await post('/folders', { token: ada, name: 'Work' })
    const { body: child } = await post('/folders', { token: ada, name: '2026', parentId: root.id })
    await post('/folders', { token: ada, name: 'March', parentId: child.id })
    const { body: tree } = await get('/folders', ada)
    assert.equal(tree.length, 1)
    assert.equal(tree[0].children[0].children[0].name, 'March')
    assert.equal((await get('/folders', ben)).body.length, 0)
    assert.equal((await post('/folders', { token: ben, name: 'Mine', parentId: root.id })).status, 422)
  })

  it('keeps projects, tasks, comments and tags together', async () => {
    const { body: customer } = await post('/customers', { token: ada, name: 'Initech' })
    const { body: project } = await post('/projects', { token: ada, title: 'Website', customerId: customer.id })
    assert.equal((await post('/projects', { token: ben, title: 'Copy', customerId: customer.id })).status, 422)
    const { body: task } = await post('/tasks', {
      token: ada,
      title: 'Draw a logo',
      projectId: project.id,
      estimate: 3,
      dueOn: '2026-12-24',
    })
    assert.equal((await post('/tasks', { token: ben, title: 'Sneak in', projectId: project.id })).status, 422)
    assert.equal((await post(`/tasks/${task.id}/comments`, { token: ada, body: 'In green, please.' })).status, 201)
    assert.equal((await post(`/tasks/${task.id}/comments`, { token: ben, body: 'In red!' })).status, 404)
    assert.equal((await post(`/tasks/${task.id}/tags`, { token: ada, name: 'design' })).status, 201)
    const { body: shown } = await get(`/tasks/${task.id}`, ada)
    assert.deepEqual([shown.comments.length, shown.tags[0].name, shown.estimate, shown.dueOn], [1, 'design', 3, '2026-12-24'])
    assert.equal((await get(`/tasks/${task.id}`, ben)).status, 404)
    const { body: patched } = await call('PATCH', `/tasks/${task.id}`, { token: ada, done: true })
    assert.equal(patched.done, true)
    const { body: whole } = await get(`/projects/${project.id}`, ada)
    assert.equal(whole.tasks[0].tags[0].name, 'design')
    assert.equal(whole.customer.name, 'Initech')
    assert.equal((await get('/tasks', ben)).body.length, 0)
  })

  it('closes a project once', async () => {
    const { body: project } = await post('/projects', { token: ada, title: 'Brochure' })
    assert.equal((await post(`/projects/${project.id}/close`, { token: ben })).status, 404)
    assert.equal((await post(`/projects/${project.id}/close`, { token: ada })).body.status, 'closed')
    assert.equal(
      (await get('/projects?open=1', ada)).body.some(({ id }) => id === project.id),
      false,
    )
  })

  it('keeps attachments', async () => {
    const { body: project } = await post('/projects', { token: ada, title: 'Files' })
    const { body: task } = await post('/tasks', { token: ada, title: 'Send', projectId: project.id })
    const { status, body: attachment } = await post(`/tasks/${task.id}/attachments`, { token: ada, filename: 'offer.pdf', size: 1200 })
    assert.equal(status, 201)
    assert.equal((await get(`/attachments/${attachment.id}`, ada)).body.filename, 'offer.pdf')
    assert.equal((await get('/attachments', ben)).body.length, 0)
    assert.equal((await call('DELETE', `/attachments/${attachment.id}`, { token: ben })).status, 404)
    assert.equal((await call('DELETE', `/attachments/${attachment.id}`, { token: ada })).status, 204)
  })

  it('shows the audit trail to its user, and all of it to admins', async () => {
    await post('/customers', { token: ben, name: 'Hooli' })
    const mine = (await get('/audit', ben)).body
    assert.deepEqual(
      mine.map(({ entity, details }) => [entity, details.name]),
      [['Customer', 'Hooli']],
    )
    await knex('users').where({ email: 'ben@example.com' }).update({ isAdmin: true })
    const all = (await get('/audit', (await post('/auth/login', { email: 'ben@example.com', password: 'the password of ben' })).body.token))
      .body
    assert.ok(all.length > mine.length)
  })
})
