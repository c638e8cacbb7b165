/** The hand-written floor: Express, knex, jsonwebtoken and SQL, nothing else. Serves on PORT over DATABASE_URL. */
import { randomUUID } from 'node:crypto'
import express from 'express'
import jwt from 'jsonwebtoken'
import Knex from 'knex'

const knex = Knex({ client: 'pg', connection: process.env.DATABASE_URL as string, pool: { min: 2, max: 10 } })
const secret = process.env.JWT_SECRET as string
const app = express()
app.disable('x-powered-by')
app.disable('etag')
const columns = ['id', 'user_id', 'title', 'content', 'created_at', 'updated_at']

declare module 'express-serve-static-core' {
  interface Request {
    sub?: string
  }
}

const auth: express.RequestHandler = (req, res, next) => {
  const header = req.headers.authorization
  try {
    req.sub = (jwt.verify((header ?? '').slice(7), secret, { algorithms: ['HS256'] }) as { sub: string }).sub
    next()
  } catch {
    res.status(401).json({ error: 'unauthorized' })
  }
}

app.get('/health', (_req, res) => {
  res.json({ ok: true })
})
app.get('/api/users/me/', auth, async (req, res) => {
  const user = (await knex('user as u')
    .where('u.id', req.sub as string)
    .leftJoin('user_role as r', 'r.user_id', 'u.id')
    .groupBy('u.id')
    .first('u.id', 'u.email', 'u.is_enabled', 'u.created_at', 'u.updated_at', knex.raw('array_agg(r.role) as roles'))) as object | undefined
  res.status(user ? 200 : 401).json(user ?? { error: 'unauthorized' })
})
app.get('/api/documents/', auth, async (req, res) => {
  const page = Math.max(1, Number(req.query.page) || 1)
  const pageSize = Math.min(100, Number(req.query.pageSize) || 20)
  const mine = { user_id: req.sub as string }
  const [data, [count]] = await Promise.all([
    knex('user_document')
      .where(mine)
      .orderBy('created_at', 'desc')
      .limit(pageSize)
      .offset((page - 1) * pageSize)
      .select(columns),
    knex('user_document').where(mine).count('* as count'),
  ])
  res.json({ data, total: Number(count?.count) })
})
app.get('/api/documents/:id', auth, async (req, res) => {
  const row = (await knex('user_document')
    .where({ id: req.params.id as string, user_id: req.sub as string })
    .first(columns)) as object | undefined
  res.status(row ? 200 : 404).json(row ?? { error: 'not found' })
})
app.post('/api/documents/', auth, express.json(), async (req, res) => {
  const { title, content } = (req.body ?? {}) as { title?: unknown; content?: unknown }
  if (typeof title !== 'string' || title === '' || title.length > 200 || typeof content !== 'string') {
    res.status(422).json({ error: 'invalid' })
    return
  }
  const now = new Date()
  const values = { id: randomUUID(), user_id: req.sub, title, content, created_at: now, updated_at: now }
  const [row] = (await knex('user_document').insert(values).returning(columns)) as object[]
  res.status(201).json(row)
})
app.listen(Number(process.env.PORT), '127.0.0.1')
