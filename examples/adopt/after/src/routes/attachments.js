const Router = require('../router')
const Attachment = require('../models/attachment')

const router = Router()

router.get('/', async (req, res) => res.json(await Attachment.query().where('user_id', req.user.id).orderBy('id')))

router.get('/:id', async (req, res) => {
  const attachment = await Attachment.query().findById(req.params.id)
  if (!attachment) return res.status(404).json({ error: 'Not found.' })
  res.json(attachment)
})

router.delete('/:id', async (req, res) => {
  const deleted = await Attachment.query().deleteById(req.params.id).where('user_id', req.user.id)
  if (!deleted) return res.status(404).json({ error: 'Not found.' })
  res.status(204).end()
})

module.exports = router
