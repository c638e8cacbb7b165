const AuditEntry = require('./models/audit-entry')

/** Records what a user did, in the application's own audit trail. */
exports.record = (req, action, row) =>
  AuditEntry.query().insert({ userId: req.user.id, action, entity: row.constructor.name, entityId: row.id, details: row.toJSON() })
