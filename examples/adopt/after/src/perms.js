const { initPerms } = require('objection-perms')
const knex = require('./db')

module.exports = initPerms({
  knex,
  user: require('./models/user'),
  jwt: {
    secret: process.env.PERMS_SECRET || 'development-only-secret-of-objection-perms',
    accessTokenExpires: 7 * 24 * 3600,
    // Tokens from before the adoption, until they have all expired.
    legacyTokens: {
      secret: process.env.JWT_SECRET || 'development-only-secret-of-the-tracker',
      userId: ({ id }) => id,
      until: process.env.OLD_TOKENS_UNTIL || '2027-03-01',
    },
  },
})
