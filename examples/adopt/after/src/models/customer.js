const Base = require('./base')

class Customer extends Base {
  static tableName = 'customers'

  static jsonSchema = {
    type: 'object',
    required: ['userId', 'name'],
    properties: {
      id: { type: 'integer' },
      userId: { type: 'integer' },
      name: { type: 'string', minLength: 1, maxLength: 255 },
      email: { type: ['string', 'null'], maxLength: 255 },
    },
  }

  static relationMappings = {
    projects: { relation: Base.HasManyRelation, modelClass: 'project', join: { from: 'customers.id', to: 'projects.customerId' } },
  }
}

module.exports = Customer
