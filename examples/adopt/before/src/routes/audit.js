const Router = require('../router')
const AuditEntry = require('../models/audit-entry')

const router = Router()

// Admins see what everyone did, other users what they did.
router.get('/', async (req, res) => {
  const query = AuditEntry.query().orderBy('id', 'desc').limit(100)
  if (!req.user.isAdmin) query.where('user_id', req.user.id)
  res.json(await query)
})

module.exports = router
