/** The same API by Express, Objection and jsonwebtoken alone. Serves on PORT over DATABASE_URL. */
import express from 'express'
import jwt from 'jsonwebtoken'
import Knex from 'knex'
import { Model, type RelationMappings, snakeCaseMappers } from 'objection'

const properties = {
  id: { type: 'string' },
  userId: { type: 'string' },
  title: { type: 'string', maxLength: 200 },
  content: { type: 'string' },
  status: { type: 'string', enum: ['draft', 'published'] },
  price: { type: ['string', 'null'] },
  views: { type: 'integer' },
  isPinned: { type: 'boolean' },
  publishedAt: { type: ['string', 'null'] },
  parentId: { type: ['string', 'null'] },
}

function modelOf(i: number) {
  return class Thing extends Model {
    static override tableName = `thing_${i}`
    static override columnNameMappers = snakeCaseMappers()
    static override jsonSchema = { type: 'object', required: ['title', 'content'], properties }
    static override relationMappings = (): RelationMappings => ({
      parent: {
        relation: Model.BelongsToOneRelation,
        modelClass: next(i),
        join: { from: `thing_${i}.parentId`, to: `thing_${(i + 1) % models.length}.id` },
      },
    })
  }
}

const models = Array.from({ length: 60 }, (_, i) => modelOf(i))
const next = (i: number) => models[(i + 1) % models.length] as typeof Model
const { DATABASE_URL, JWT_SECRET, PORT } = process.env
const knex = Knex({ client: 'pg', connection: String(DATABASE_URL) })
Model.knex(knex)
const app = express()

declare module 'express-serve-static-core' {
  interface Request {
    sub?: string
  }
}

app.use((req, res, next) => {
  try {
    req.sub = (jwt.verify((req.headers.authorization ?? '').slice(7), String(JWT_SECRET), { algorithms: ['HS256'] }) as { sub: string }).sub
    next()
  } catch {
    res.status(401).json({ error: 'unauthorized' })
  }
})
for (const [i, model] of models.entries()) {
  const mine = (req: express.Request) => model.query().where('user_id', String(req.sub))
  app.get(`/api/things-${i}/`, async (req, res) => {
    const { results, total } = await mine(req).orderBy('created_at', 'desc').page(0, 20)
    res.json({ data: results, total })
  })
  app.get(`/api/things-${i}/:id`, async (req, res) => {
    const row = await mine(req).findById(String(req.params.id))
    res.status(row ? 200 : 404).json(row ?? {})
  })
  app.post(`/api/things-${i}/`, express.json(), async (req, res) => {
    res.status(201).json(await model.query().insert({ ...req.body, userId: req.sub }))
  })
}
app.listen(Number(PORT), '127.0.0.1')
