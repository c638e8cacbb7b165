import { expect } from 'chai'
import fc from 'fast-check'
import pg from 'pg'
import { prepareConnections } from '../../src/database/connections.js'
import { datetimeOf, readDatesAndDatetimes } from '../../src/database/pg-values.js'
import { availableDrivers, createDatabase, type OwnDatabase } from '../helpers/databases.js'

const timestamptz = 1184
const parse = pg.types.getTypeParser(timestamptz, 'text') as (text: string) => unknown

describe('timestamptz values', () => {
  const spelled = (moment: Date, digits: number) =>
    `${moment
      .toISOString()
      .replace('T', ' ')
      .slice(0, digits === 0 ? 19 : 20 + digits)}+00`

  it('equal the driver’s own result', () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date('1000-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59.999Z'), noInvalidDate: true }),
        fc.integer({ min: 0, max: 3 }),
        (moment, digits) => {
          const text = spelled(moment, digits)
          const made = datetimeOf(text)
          expect(made, text).to.be.an.instanceOf(Date)
          expect(made?.getTime(), text).to.equal((parse(text) as Date).getTime())
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('are parsed by the driver in any other format', () => {
    for (const text of [
      'infinity',
      '-infinity',
      '2001-02-03 04:05:06.7891+00',
      '2001-02-03 04:05:06.789012+00',
      '2001-02-03 04:05:06+02',
      '2001-02-03 04:05:06-03',
      '2001-02-03 04:05:06+05:30',
      '2001-02-03 04:05:06.789-00',
      '2001-02-03 04:05:06.7+10',
      '0044-03-15 12:00:00+00 BC',
      '0099-03-15 12:00:00+00',
      '12001-02-03 04:05:06+00',
      '03/02/2001 04:05:06 UTC',
      '2001-02-03 04:05:06',
      '',
    ])
      expect(datetimeOf(text), text).to.equal(null)
  })

  if (!availableDrivers.includes('pg')) return

  describe('as they are read', () => {
    let own: OwnDatabase
    before(async () => {
      own = await createDatabase('pg')
    })
    after(() => own.destroy())

    const moments = ["'2001-02-03 04:05:06.789+00'", "'1999-12-31 23:59:59+00'", "'0044-03-15 12:00:00+00 BC'", "'infinity'"]

    it('are the same as without the library, in any time zone of the session', async () => {
      const plain = own.connect({ pool: { min: 1, max: 1 } })
      const ours = own.connect({ pool: { min: 1, max: 1 } })
      prepareConnections(ours)
      for (const zone of ['UTC', 'Europe/Helsinki', 'Asia/Kolkata', 'America/St_Johns']) {
        const all = async (knex: typeof plain) => {
          await knex.raw(`set time zone '${zone}'`)
          const { rows } = await knex.raw(
            `select ${moments.map((text, i) => `timestamptz ${text} as m${i}`).join(', ')}, now() > '2020-01-01' as b`,
          )
          return rows as unknown
        }
        expect(await all(ours), zone).to.deep.equal(await all(plain))
      }
    })

    it('are parsed by the application’s own parser', async () => {
      pg.types.setTypeParser(timestamptz, (text) => `mine: ${text.slice(0, 4)}`)
      try {
        const knex = own.connect()
        prepareConnections(knex)
        const { rows } = await knex.raw("select timestamptz '2001-02-03 04:05:06+00' as moment")
        expect(rows).to.deep.equal([{ moment: 'mine: 2001' }])
      } finally {
        pg.types.setTypeParser(timestamptz, parse)
      }
    })
  })

  it('keep a parser that returns other dates or throws', () => {
    class OwnDate extends Date {}
    const parsers = [
      (text: string) => new OwnDate(text.replace(' ', 'T')),
      (text: string) => new Date(parse(text) as Date).getTime(),
      (text: string) => new Date((parse(text) as Date).getTime() + 1),
      () => {
        throw new Error('not this one')
      },
    ]
    for (const own of parsers) {
      const set: number[] = []
      readDatesAndDatetimes({ getTypeParser: (type) => (type === timestamptz ? own : parse), setTypeParser: (type) => set.push(type) })
      expect(set).to.deep.equal([1082])
    }
  })
})
