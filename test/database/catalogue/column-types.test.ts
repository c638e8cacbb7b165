import { expect } from 'chai'
import { valueTypeOf } from '../../../src/database/catalogue/column-types.js'
import { readTableColumns } from '../../../src/database/catalogue/table-columns.js'
import { eachDatabase } from '../../helpers/databases.js'

describe('The type of a column in the catalogue', () => {
  it('has the limits of its SQL type', () => {
    expect(valueTypeOf('character varying(100)', 'pg')).to.deep.equal({ type: 'string', maxLength: 100 })
    expect(valueTypeOf('numeric(10,2)', 'pg')).to.deep.equal({ type: 'decimal', precision: 10, scale: 2 })
    expect(valueTypeOf('numeric', 'pg')).to.deep.equal({ type: 'float' })
    expect(valueTypeOf('decimal(65,30)', 'mysql')).to.deep.equal({ type: 'float' })
    expect(valueTypeOf('smallint', 'pg')).to.deep.equal({ type: 'integer', minimum: -32768, maximum: 32767 })
    expect(valueTypeOf('int(10) unsigned', 'mysql')).to.deep.equal({ type: 'integer', minimum: 0, maximum: 4294967295 })
    expect(valueTypeOf('tinyint(4)', 'mysql')).to.deep.equal({ type: 'integer', minimum: -128, maximum: 127 })
    expect(valueTypeOf('integer', 'sqlite')).to.deep.equal({ type: 'integer' })
    expect(valueTypeOf('real', 'sqlite')).to.deep.equal({ type: 'float' })
    expect(valueTypeOf("enum('a','it''s','b,c')", 'mysql')).to.deep.equal({ type: 'enum', values: ['a', "it's", 'b,c'] })
  })

  it('is the same for the spellings of each database', () => {
    for (const [type, spellings] of Object.entries({
      datetime: ['timestamp(3) with time zone', 'timestamp without time zone', 'datetime(6)', 'TIMESTAMP'],
      boolean: ['boolean', 'bool', 'tinyint(1)'],
      bigint: ['bigint', 'bigint(20)'],
      text: ['text', 'longtext', 'citext'],
      json: ['json', 'jsonb'],
      uuid: ['uuid'],
    }))
      for (const spelling of spellings) expect(valueTypeOf(spelling, 'pg')?.type, spelling).to.equal(type)
  })

  it('is unknown for values that the library cannot compare', () => {
    for (const type of ['integer[]', 'time', 'bytea', 'blob', 'interval', 'point', "set('a')", 'bit(1)', '', 'mood', 'constructor'])
      expect(valueTypeOf(type, 'mysql'), type).to.equal(undefined)
  })
})

eachDatabase('The columns of an existing table', (db) => {
  it('have the types of enums and domains, and say which the database sets', async () => {
    if (db.dialect === 'pg') {
      await db.knex.raw(`create type mood as enum ('sad', 'ok')`)
      await db.knex.raw('create domain short_text as varchar(5)')
    }
    const mood = { pg: 'mood', mysql: "enum('sad','ok')", sqlite: 'text' }[db.dialect]
    const short = db.dialect === 'pg' ? 'short_text' : 'varchar(5)'
    await db.knex.raw(
      `create table typed (id ${db.dialect === 'pg' ? 'serial' : db.dialect === 'mysql' ? 'int auto_increment' : 'integer'} primary key,
        feeling ${mood} not null, short ${short}, twice integer generated always as (1 + 1) stored)`,
    )
    const columns = await readTableColumns(db.knex, 'typed')
    expect(columns?.names).to.have.members(['id', 'feeling', 'short', 'twice'])
    expect(columns?.get('id')).to.include({ isGenerated: true })
    expect(columns?.get('twice')).to.include({ isGenerated: true })
    expect(columns?.get('feeling')).to.include({ isGenerated: false, isNullable: false })
    if (db.dialect !== 'sqlite') expect(columns?.get('feeling')?.type).to.deep.equal({ type: 'enum', values: ['sad', 'ok'] })
    expect(columns?.get('short')).to.deep.equal({ type: { type: 'string', maxLength: 5 }, isNullable: true, isGenerated: false })
    expect(columns?.get('other')).to.equal(undefined)
    expect(await readTableColumns(db.knex, 'no_such_table')).to.equal(null)
  })
})
