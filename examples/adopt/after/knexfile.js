const { knexSnakeCaseMappers } = require('objection')

module.exports = {
  client: 'sqlite3',
  useNullAsDefault: true,
  connection: { filename: process.env.DATABASE_FILE || 'tracker.db' },
  pool: { afterCreate: (connection, done) => connection.run('PRAGMA foreign_keys = ON', done) },
  migrations: { directory: `${__dirname}/migrations` },
  ...knexSnakeCaseMappers(),
}
