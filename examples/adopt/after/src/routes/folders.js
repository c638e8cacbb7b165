const Router = require('../router')
const Folder = require('../models/folder')

const router = Router()

// The whole tree of the caller.
router.get('/', async (req, res) =>
  res.json(await Folder.query().where('user_id', req.user.id).whereNull('parent_id').withGraphFetched('children.^').orderBy('id')),
)

router.post('/', async (req, res) => {
  if (req.body.parentId) {
    const parent = await Folder.query().findById(req.body.parentId).where('user_id', req.user.id)
    if (!parent) return res.status(422).json({ error: 'No such parent.' })
  }
  res.status(201).json(await Folder.query().insert({ ...req.body, userId: req.user.id }))
})

module.exports = router
