const { Model } = require('objection')
const { owner, PermsMixin } = require('objection-perms')

const mine = owner('userId')

class Base extends PermsMixin(Model) {
  // Rows belong to their user. Models with other rules have a policy of their own.
  static policy = { read: mine, create: mine, update: mine, delete: mine }

  static get modelPaths() {
    return [__dirname]
  }
}

module.exports = Base
