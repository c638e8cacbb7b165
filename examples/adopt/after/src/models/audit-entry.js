const Base = require('./base')

class AuditEntry extends Base {
  static tableName = 'audit_entries'

  static jsonSchema = {
    type: 'object',
    required: ['userId', 'action', 'entity', 'entityId'],
    properties: {
      id: { type: 'integer' },
      userId: { type: 'integer' },
      action: { type: 'string' },
      entity: { type: 'string' },
      entityId: { type: 'integer' },
      details: { type: ['object', 'null'] },
    },
  }

  static jsonAttributes = ['details']
}

module.exports = AuditEntry
