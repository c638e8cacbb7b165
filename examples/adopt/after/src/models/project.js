const Base = require('./base')

class Project extends Base {
  static tableName = 'projects'

  static jsonSchema = {
    type: 'object',
    required: ['userId', 'title'],
    properties: {
      id: { type: 'integer' },
      userId: { type: 'integer' },
      customerId: { type: ['integer', 'null'] },
      folderId: { type: ['integer', 'null'] },
      title: { type: 'string', minLength: 1, maxLength: 255 },
      status: { type: 'string', enum: ['open', 'closed'] },
    },
  }

  static relationMappings = {
    customer: { relation: Base.BelongsToOneRelation, modelClass: 'customer', join: { from: 'projects.customerId', to: 'customers.id' } },
    tasks: { relation: Base.HasManyRelation, modelClass: 'task', join: { from: 'projects.id', to: 'tasks.projectId' } },
  }

  static modifiers = {
    open: (query) => query.where('projects.status', 'open'),
  }
}

module.exports = Project
