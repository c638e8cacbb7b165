const Router = require('../router')
const Customer = require('../models/customer')
const Project = require('../models/project')
const { record } = require('../audit')

const router = Router()

router.get('/', async (req, res) => {
  const query = Project.query().where('projects.user_id', req.user.id).withGraphFetched('customer').orderBy('id')
  if (req.query.open) query.modify('open')
  res.json(await query)
})

router.post('/', async (req, res) => {
  if (req.body.customerId) {
    const customer = await Customer.query().findById(req.body.customerId).where('user_id', req.user.id)
    if (!customer) return res.status(422).json({ error: 'No such customer.' })
  }
  const project = await Project.query().insert({ ...req.body, userId: req.user.id })
  await record(req, 'create', project)
  res.status(201).json(project)
})

router.get('/:id', async (req, res) => {
  const project = await Project.query()
    .findById(req.params.id)
    .where('projects.user_id', req.user.id)
    .withGraphFetched('[customer, tasks.tags]')
  if (!project) return res.status(404).json({ error: 'Not found.' })
  res.json(project)
})

router.post('/:id/close', async (req, res) => {
  const closed = await Project.query().findById(req.params.id).where('user_id', req.user.id).patch({ status: 'closed' })
  if (!closed) return res.status(404).json({ error: 'Not found.' })
  res.json(await Project.query().findById(req.params.id).where('user_id', req.user.id))
})

module.exports = router
