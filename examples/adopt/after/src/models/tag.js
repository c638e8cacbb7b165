const Base = require('./base')

class Tag extends Base {
  static tableName = 'tags'

  static jsonSchema = {
    type: 'object',
    required: ['userId', 'name'],
    properties: {
      id: { type: 'integer' },
      userId: { type: 'integer' },
      name: { type: 'string', minLength: 1, maxLength: 255 },
    },
  }
}

module.exports = Tag
