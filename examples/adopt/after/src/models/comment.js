const Base = require('./base')

class Comment extends Base {
  static tableName = 'comments'

  static jsonSchema = {
    type: 'object',
    required: ['userId', 'taskId', 'body'],
    properties: {
      id: { type: 'integer' },
      userId: { type: 'integer' },
      taskId: { type: 'integer' },
      body: { type: 'string', minLength: 1, maxLength: 10000 },
    },
  }
}

module.exports = Comment
