/** Reads the sample rows of another process, and writes the same ones again: run with another TZ. */
import Knex from 'knex'
import { BaseModel, column, initPerms } from '../../src/index.js'
import { clientOf, type DatabaseName } from './databases.js'

const [client = '', url = ''] = process.argv.slice(2)
const isFile = client.includes('sqlite')
const knex = Knex({ client: clientOf(client as DatabaseName), connection: isFile ? { filename: url } : url, useNullAsDefault: isFile })
const perms = initPerms({ knex })

class Sample extends BaseModel.withColumns({
  text: column.text().nullable(),
  day: column.date().nullable(),
  moment: column.datetime().nullable(),
  must: column.json().default({}),
}) {}

const read = await Sample.query()
for (const { day, moment } of read) await Sample.create({ text: 'there', day, moment })
console.log(JSON.stringify({ zone: Intl.DateTimeFormat().resolvedOptions().timeZone, read }))
await perms.close()
await knex.destroy()
