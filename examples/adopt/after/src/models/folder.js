const Base = require('./base')

class Folder extends Base {
  static tableName = 'folders'

  static jsonSchema = {
    type: 'object',
    required: ['userId', 'name'],
    properties: {
      id: { type: 'integer' },
      userId: { type: 'integer' },
      parentId: { type: ['integer', 'null'] },
      name: { type: 'string', minLength: 1, maxLength: 255 },
    },
  }

  static relationMappings = {
    parent: { relation: Base.BelongsToOneRelation, modelClass: 'folder', join: { from: 'folders.parentId', to: 'folders.id' } },
    children: { relation: Base.HasManyRelation, modelClass: 'folder', join: { from: 'folders.id', to: 'folders.parentId' } },
    projects: { relation: Base.HasManyRelation, modelClass: 'project', join: { from: 'folders.id', to: 'projects.folderId' } },
  }
}

module.exports = Folder
