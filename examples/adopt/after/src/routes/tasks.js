const Router = require('../router')
const Attachment = require('../models/attachment')
const Comment = require('../models/comment')
const Project = require('../models/project')
const Tag = require('../models/tag')
const Task = require('../models/task')
const { record } = require('../audit')

const router = Router()

const taskOf = async (req) => Task.query().findById(req.params.id).where('tasks.user_id', req.user.id)

router.get('/', async (req, res) => {
  const query = Task.query().where('tasks.user_id', req.user.id).withGraphFetched('tags').orderBy('id')
  if (req.query.project) query.where('project_id', req.query.project)
  res.json(await query)
})

router.post('/', async (req, res) => {
  const project = await Project.query().findById(req.body.projectId).where('user_id', req.user.id)
  if (!project) return res.status(422).json({ error: 'No such project.' })
  const task = await Task.query().insert({ ...req.body, userId: req.user.id })
  await record(req, 'create', task)
  res.status(201).json(task)
})

router.get('/:id', async (req, res) => {
  const task = await taskOf(req).then((found) => found?.$fetchGraph('[comments, attachments, tags]'))
  if (!task) return res.status(404).json({ error: 'Not found.' })
  res.json(task)
})

router.patch('/:id', async (req, res) => {
  const task = await taskOf(req)
  if (!task) return res.status(404).json({ error: 'Not found.' })
  const { userId, projectId, ...changes } = req.body
  await task.$query().patch(changes)
  await record(req, 'update', task)
  res.json(task)
})

router.post('/:id/comments', async (req, res) => {
  const task = await taskOf(req)
  if (!task) return res.status(404).json({ error: 'Not found.' })
  res.status(201).json(await Comment.query().insert({ body: req.body.body, taskId: task.id, userId: req.user.id }))
})

router.post('/:id/tags', async (req, res) => {
  const task = await taskOf(req)
  if (!task) return res.status(404).json({ error: 'Not found.' })
  const mine = { userId: req.user.id, name: req.body.name }
  const tag = (await Tag.query().findOne(mine)) || (await Tag.query().insert(mine))
  await task.$relatedQuery('tags').relate(tag.id)
  res.status(201).json(tag)
})

router.post('/:id/attachments', async (req, res) => {
  const task = await taskOf(req)
  if (!task) return res.status(404).json({ error: 'Not found.' })
  const { filename, size } = req.body
  res.status(201).json(await Attachment.query().insert({ filename, size, taskId: task.id, userId: req.user.id }))
})

module.exports = router
