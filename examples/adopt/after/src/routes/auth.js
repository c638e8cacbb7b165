const Router = require('../router')
const { authenticate, login, register } = require('../auth')
const perms = require('../perms')

const router = Router()

router.post('/register', async (req, res) => {
  const user = await register(req.body, req.ip)
  res.status(201).json(user)
})

router.post('/login', async (req, res) => res.json(await login(req.body, req.ip)))

router.post('/logout', authenticate, async (_req, res) => {
  await perms.auth.signOut()
  res.status(204).end()
})

router.get('/me', authenticate, (req, res) => res.json(req.user))

module.exports = router
