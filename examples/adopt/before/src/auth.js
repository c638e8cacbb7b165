const bcrypt = require('bcryptjs')
const jwt = require('jsonwebtoken')
const User = require('./models/user')

const secret = process.env.JWT_SECRET || 'development-only-secret-of-the-tracker'

const register = async ({ email, password, name }) =>
  User.query().insert({ email: email.toLowerCase(), password: await bcrypt.hash(password, 10), name })

const login = async ({ email, password }) => {
  const user = await User.query().findOne({ email: String(email).toLowerCase() })
  if (!user || !(await bcrypt.compare(String(password), user.password))) return null
  return { user, token: jwt.sign({ id: user.id, admin: Boolean(user.isAdmin) }, secret, { expiresIn: '7d' }) }
}

// Sets req.user from the token, or answers 401.
const authenticate = async (req, res, next) => {
  try {
    const [, token] = (req.headers.authorization || '').split(' ')
    const { id } = jwt.verify(token, secret, { algorithms: ['HS256'] })
    req.user = await User.query().findById(id)
    if (req.user) return next()
  } catch (error) {
    if (!(error instanceof jwt.JsonWebTokenError)) return next(error)
  }
  res.status(401).json({ error: 'Sign in first.' })
}

module.exports = { authenticate, login, register, secret }
