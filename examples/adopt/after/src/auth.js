const { asAnonymous, currentUser } = require('objection-perms')
const { expressAdapter } = require('objection-perms/express')
const { Router } = require('express')
const perms = require('./perms')

const { authenticate: identify, errorHandler, requireUser } = expressAdapter(perms)

const register = async ({ email, password, name }, address) =>
  asAnonymous(() => perms.auth.register({ email, password, name }), { address })

const login = async ({ email, password }, address) => {
  const result = await asAnonymous(() => perms.auth.signIn({ email, password }), { address })
  // A user with a passkey or an authenticator app gets a challenge for the second step.
  return result.status === 'signedIn' ? { user: result.user, token: result.accessToken } : { challenge: result.challenge }
}

// Sets req.user from the token, or answers 401. All handlers after it run as this user.
const authenticate = Router().use(identify(), requireUser(), (req, _res, next) => {
  req.user = currentUser()
  next()
})

module.exports = { authenticate, errorHandler, login, register }
