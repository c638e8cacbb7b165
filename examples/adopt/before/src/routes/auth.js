const Router = require('../router')
const { authenticate, login, register } = require('../auth')

const router = Router()

router.post('/register', async (req, res) => {
  const user = await register(req.body)
  res.status(201).json(user)
})

router.post('/login', async (req, res) => {
  const result = await login(req.body)
  if (!result) return res.status(401).json({ error: 'Wrong email or password.' })
  res.json(result)
})

router.get('/me', authenticate, (req, res) => res.json(req.user))

module.exports = router
