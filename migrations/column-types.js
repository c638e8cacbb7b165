/**
 * The SQL types of the packaged migrations, literally. Never edit them: a migration does the same in every version of the library.
 *
 * `kind` decides how the default of a column is written.
 */

// Compares byte by byte. MariaDB reads the first comment, MySQL the second one.
const mysqlText = 'character set utf8mb4 collate /*M! utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */'

/** @param {number} length in characters */
export const string = (length) => ({
  kind: 'string',
  sqlite: `varchar(${length})`,
  pg: `varchar(${length})`,
  mysql: `varchar(${length}) ${mysqlText}`,
})

export const text = { kind: 'text', sqlite: 'text', pg: 'text', mysql: `longtext ${mysqlText}` }
export const boolean = { kind: 'boolean', sqlite: 'boolean', pg: 'boolean', mysql: 'tinyint(1)' }
export const integer = { kind: 'integer', sqlite: 'integer', pg: 'integer', mysql: 'integer' }
export const bigint = { kind: 'bigint', sqlite: 'text', pg: 'bigint', mysql: 'bigint' }
export const json = { kind: 'json', sqlite: 'text', pg: 'jsonb', mysql: `longtext ${mysqlText}` }
export const datetime = { kind: 'datetime', sqlite: 'datetime', pg: 'timestamptz(3)', mysql: 'datetime(3)' }

/** The columns with which each table of a model begins. The application decides the type of ids. */
export const rowColumns = {
  id: { isId: true },
  createdAt: { type: datetime },
  updatedAt: { type: datetime },
}
