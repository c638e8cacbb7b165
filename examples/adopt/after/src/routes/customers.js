const Router = require('../router')
const Customer = require('../models/customer')
const { record } = require('../audit')

const router = Router()

router.get('/', async (req, res) => res.json(await Customer.query().where('user_id', req.user.id).orderBy('id')))

router.post('/', async (req, res) => {
  const customer = await Customer.query().insert({ ...req.body, userId: req.user.id })
  await record(req, 'create', customer)
  res.status(201).json(customer)
})

router.get('/:id', async (req, res) => {
  const customer = await Customer.query().findById(req.params.id).where('user_id', req.user.id).withGraphFetched('projects')
  if (!customer) return res.status(404).json({ error: 'Not found.' })
  res.json(customer)
})

router.patch('/:id', async (req, res) => {
  const customer = await Customer.query().findById(req.params.id).where('user_id', req.user.id)
  if (!customer) return res.status(404).json({ error: 'Not found.' })
  const { userId, ...changes } = req.body
  await customer.$query().patch(changes)
  await record(req, 'update', customer)
  res.json(customer)
})

router.delete('/:id', async (req, res) => {
  const deleted = await Customer.query().deleteById(req.params.id).where('user_id', req.user.id)
  if (!deleted) return res.status(404).json({ error: 'Not found.' })
  res.status(204).end()
})

module.exports = router
