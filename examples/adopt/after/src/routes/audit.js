const Router = require('../router')
const AuditEntry = require('../models/audit-entry')

const router = Router()

// Admins see what everyone did, other users what they did.
router.get('/', async (req, res) => {
  const query = () => AuditEntry.query().orderBy('id', 'desc').limit(100)
  res.json(await (req.user.isAdmin ? AuditEntry.bypassPerms(query) : query()))
})

module.exports = router
