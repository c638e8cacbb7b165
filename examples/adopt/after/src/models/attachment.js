const Base = require('./base')

class Attachment extends Base {
  static tableName = 'attachments'

  static jsonSchema = {
    type: 'object',
    required: ['userId', 'taskId', 'filename', 'size'],
    properties: {
      id: { type: 'integer' },
      userId: { type: 'integer' },
      taskId: { type: 'integer' },
      filename: { type: 'string', minLength: 1, maxLength: 255 },
      size: { type: 'integer', minimum: 0 },
    },
  }
}

module.exports = Attachment
