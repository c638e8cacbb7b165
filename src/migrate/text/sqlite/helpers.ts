/** The functions at the end of a migration of SQLite. */

/** Returns the function that replaces a table. */
export function rebuildFunction(isTypeScript: boolean): string {
  const typed = (type: string) => (isTypeScript ? type : '')
  return `/** Replaces a table by one with another definition. Its rows, indexes and triggers stay. */
async function rebuildTable(trx${typed(': Knex')}, table${typed(': string')}, newTable${typed(': string')}, sql${typed(': { create: string; copy: string }')})${typed(': Promise<void>')} {
  const quoted = (name${typed(': string')}) => \`"\${name.replaceAll('"', '""')}"\`
  const others = await trx.raw("select sql from sqlite_master where tbl_name = ? and type in ('index', 'trigger') and sql is not null", [table])
  await trx.raw(sql.create)
  await trx.raw(sql.copy)
  if (/\\bautoincrement\\b/i.test(sql.create)) {
    // Ids of deleted rows are not used again.
    await trx.raw('delete from sqlite_sequence where name = ?', [newTable])
    await trx.raw('insert into sqlite_sequence (name, seq) select ?, seq from sqlite_sequence where name = ?', [newTable, table])
  }
  await trx.raw(\`drop table \${quoted(table)}\`)
  // Otherwise SQLite refuses the new name while a view reads the dropped table.
  await trx.raw('pragma legacy_alter_table = on')
  await trx.raw(\`alter table \${quoted(newTable)} rename to \${quoted(table)}\`)
  await trx.raw('pragma legacy_alter_table = off')
  for (const other of others) await trx.raw(String(Object.values(other)[0]))
}`
}

/** Returns the function that opens a transaction without foreign keys. */
export function foreignKeysFunction(isTypeScript: boolean): string {
  const typed = (type: string) => (isTypeScript ? type : '')
  return `/** Runs fn in a transaction without foreign keys: with them, the drop of a replaced table deletes the rows that refer to it. */
async function withoutForeignKeys(knex${typed(': Knex')}, fn${typed(': (trx: Knex) => Promise<void>')})${typed(': Promise<void>')} {
  const connection = await knex.client.acquireConnection()
  const run = (sql${typed(': string')}) => knex.raw(sql).connection(connection)
  const isOn = async () => Boolean(Object.values((await run('pragma foreign_keys'))[0] ?? {})[0])
  const violations = async (trx${typed(': Knex')}) => (await trx.raw('pragma foreign_key_check')).length
  const before = await isOn()
  try {
    await run('pragma foreign_keys = off')
    if (await isOn()) throw new Error('This migration cannot run inside a transaction: foreign keys must be off while it replaces tables.')
    await knex.transaction(
      async (trx) => {
        const known = await violations(trx)
        await fn(trx)
        if ((await violations(trx)) > known) throw new Error('Rows refer to rows that do not exist: nothing was changed. "pragma foreign_key_check" lists them.')
      },
      { connection },
    )
  } finally {
    await run(\`pragma foreign_keys = \${before ? 'on' : 'off'}\`)
    await knex.client.releaseConnection(connection)
  }
}`
}
