import { expect } from 'chai'
import Knex from 'knex'
import { newId } from '../../src/core/ids.js'
import { fragment } from '../../src/query/fragments.js'
import { isUuid } from '../../src/schema/values.js'
import { fakeClock } from '../../src/testing/clock.js'

const clients = { pg: '"', mysql2: '`', 'better-sqlite3': '`' } as const

for (const [client, quote] of Object.entries(clients)) {
  describe(`fragment() (${client})`, () => {
    const knex = Knex({ client, useNullAsDefault: true })
    const q = (text: string) => text.replaceAll('"', quote)

    it('returns the same SQL as Knex for the same text and bindings', () => {
      const given = { sql: "(?? = ? or ?? like 'a\\\\?' and exists (select 1 from ?? as ??))", bindings: ['t.a', 1, 'b c', 'u', 'x"y'] }
      const ours = knex('t').whereRaw(fragment(knex.client, given)).where('z', 2).toSQL().toNative()
      const theirs = knex('t')
        .whereRaw(given.sql, given.bindings as never)
        .where('z', 2)
        .toSQL()
        .toNative()
      expect(ours.sql).to.equal(theirs.sql)
      expect(ours.bindings).to.deep.equal(theirs.bindings)
    })

    it('quotes a name that contains quotes', () => {
      const { sql } = knex('t')
        .whereRaw(fragment(knex.client, { sql: '?? = 1', bindings: ['a" or 1 = 1 --'] }))
        .toSQL()
      expect(sql).to.equal(knex('t').whereRaw('?? = 1', ['a" or 1 = 1 --']).toSQL().sql)
      expect(q(sql)).to.match(quote === '"' ? /"a"" or 1 = 1 --"/ : /`a[`"]+ or 1 = 1 --`/)
    })

    it('can be used as a value', () => {
      const sql = knex('t')
        .insert({ id: fragment(knex.client, { sql: '(case when ?? = ? then ? end)', bindings: ['a', 1, 'x'] }) })
        .toSQL()
      expect(sql.sql).to.contain('(case when ')
      expect(sql.bindings).to.deep.equal([1, 'x'])
    })

    it('throws for too few bindings, too many and undefined', () => {
      expect(() => fragment(knex.client, { sql: '?? = ?', bindings: ['a'] })).to.throw('a placeholder without a binding')
      expect(() => fragment(knex.client, { sql: '?? = ?', bindings: ['a', undefined] })).to.throw('a placeholder without a binding')
      expect(() => fragment(knex.client, { sql: '?? = ?', bindings: ['a', 1, 2] })).to.throw('more bindings than placeholders')
    })
  })
}

describe('newId()', () => {
  it('returns unique, ascending UUIDs of version 7', () => {
    const ids = Array.from({ length: 20_000 }, newId)
    expect(ids.every((id) => isUuid(id) && id[14] === '7' && /[89ab]/.test(id[19] as string) && id === id.toLowerCase())).to.equal(true)
    expect([...ids].sort()).to.deep.equal(ids)
    expect(new Set(ids).size).to.equal(ids.length)
  })

  it('starts with the time in milliseconds and ascends even if the clock is set back', async () => {
    // A copy of its own: the fake clocks of other tests leave the ids of this process ahead of the clock.
    const own = (await import(new URL('../../src/core/ids.js?own', import.meta.url).href)) as { newId: typeof newId }
    const msOf = (id: string) => Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16)
    const clock = fakeClock('2030-01-01T00:00:00Z')
    try {
      const before = Date.now()
      const first = own.newId()
      expect(msOf(first)).to.be.within(before, Date.now())
      clock.advance(-3600)
      const later = own.newId()
      expect(later > first).to.equal(true)
      expect(msOf(later)).to.equal(msOf(first))
      clock.advance(7200)
      expect(msOf(own.newId())).to.be.within(before + 3_600_000, Date.now())
    } finally {
      clock.restore()
    }
  })

  it('has a different random part each time', () => {
    const tails = Array.from({ length: 1000 }, () => newId().slice(-10))
    expect(new Set(tails).size).to.equal(1000)
  })
})
