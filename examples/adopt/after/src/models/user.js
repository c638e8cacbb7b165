const { HasRolesMixin, PasswordMixin, self } = require('objection-perms')
const Base = require('./base')

class User extends HasRolesMixin(PasswordMixin(Base)) {
  static tableName = 'users'
  static columnNames = { passwordHash: 'password' }
  static policy = { read: self(), update: self() }

  static jsonSchema = {
    type: 'object',
    required: ['email', 'password', 'name'],
    properties: {
      id: { type: 'integer' },
      email: { type: 'string', format: 'email', maxLength: 255 },
      password: { type: 'string', maxLength: 60 },
      name: { type: 'string', minLength: 1, maxLength: 255 },
      isAdmin: { type: 'boolean', readOnly: true },
      isEnabled: { type: 'boolean', default: true },
    },
  }

  $formatJson(json) {
    const { password, ...shown } = super.$formatJson(json)
    return shown
  }
}

module.exports = User
