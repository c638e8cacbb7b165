const Base = require('./base')

class Task extends Base {
  static tableName = 'tasks'

  static jsonSchema = {
    type: 'object',
    required: ['userId', 'projectId', 'title'],
    properties: {
      id: { type: 'integer' },
      userId: { type: 'integer' },
      projectId: { type: 'integer' },
      title: { type: 'string', minLength: 1, maxLength: 255 },
      done: { type: 'boolean' },
      estimate: { type: ['integer', 'null'], minimum: 0 },
      dueOn: { type: ['string', 'null'], format: 'date' },
    },
  }

  static relationMappings = {
    project: { relation: Base.BelongsToOneRelation, modelClass: 'project', join: { from: 'tasks.projectId', to: 'projects.id' } },
    comments: { relation: Base.HasManyRelation, modelClass: 'comment', join: { from: 'tasks.id', to: 'comments.taskId' } },
    attachments: { relation: Base.HasManyRelation, modelClass: 'attachment', join: { from: 'tasks.id', to: 'attachments.taskId' } },
    tags: {
      relation: Base.ManyToManyRelation,
      modelClass: 'tag',
      join: { from: 'tasks.id', through: { from: 'task_tags.taskId', to: 'task_tags.tagId' }, to: 'tags.id' },
    },
  }

  $parseDatabaseJson(json) {
    const parsed = super.$parseDatabaseJson(json)
    if (typeof parsed.done === 'number') parsed.done = parsed.done === 1
    return parsed
  }
}

module.exports = Task
