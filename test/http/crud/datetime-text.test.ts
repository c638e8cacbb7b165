import { expect } from 'chai'
import fc from 'fast-check'
import { jsonValue } from '../../../src/http/crud/datetime-text.js'

const texts = (value: unknown) => [JSON.stringify([jsonValue(value)]), JSON.stringify([value])]

describe('jsonValue()', () => {
  it('gives the JSON of any value, also of invalid dates and of years beyond four digits', () => {
    const date = fc.oneof(fc.date(), fc.date({ min: new Date('1990-01-01'), max: new Date('2040-01-01') }), fc.constant(new Date(NaN)))
    const value = fc.oneof(date, fc.jsonValue())
    const check = (given: unknown) => {
      const [fast, usual] = texts(given)
      expect(fast).to.equal(usual)
    }
    fc.assert(fc.property(value, check), { numRuns: 2000 })
    for (const ms of [0, -1, 86_399_999, 86_400_000, 253_402_300_799_999, 253_402_300_800_000, -62_167_219_200_001, 8.64e15])
      check(new Date(ms))
    // More days than are kept.
    for (let day = 0; day < 2500; day += 1) check(new Date(day * 86_400_000 + day))
  })

  it('leaves dates to JSON.stringify() whose JSON the application defines', () => {
    class OwnDate extends Date {
      override toJSON(): string {
        return 'own'
      }
    }
    expect(texts(new OwnDate(0))).to.deep.equal(['["own"]', '["own"]'])
    expect(texts(Object.assign(new Date(0), { toJSON: () => 'patched' }))).to.deep.equal(['["patched"]', '["patched"]'])
    const { toJSON } = Date.prototype
    try {
      Date.prototype.toJSON = () => 'everywhere'
      expect(texts(new Date(0))).to.deep.equal(['["everywhere"]', '["everywhere"]'])
    } finally {
      Date.prototype.toJSON = toJSON
    }
  })
})
