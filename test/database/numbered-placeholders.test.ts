import { expect } from 'chai'
import Knex from 'knex'
import { keepNumberedTexts } from '../../src/database/numbered-placeholders.js'

describe('the placeholders of PostgreSQL', () => {
  const knex = Knex({ client: 'pg' })
  const client = knex.client as { positionBindings(sql: string): string }
  const texts = ['select 1', 'select ? as a, ? as b', "select '\\\\?' as mark, ? as a", `select ${'?, '.repeat(5000)} 1`]
  const expected = texts.map((text) => client.positionBindings(text))
  let undo: () => void
  before(() => {
    undo = keepNumberedTexts(client)
  })
  after(async () => {
    undo()
    await knex.destroy()
  })

  it('are numbered as Knex numbers them, also the second time', () => {
    for (let i = 0; i < 3; i += 1) expect(texts.map((text) => client.positionBindings(text))).to.deep.equal(expected)
  })

  it('are numbered once for each text, as long as it is among the last ones', () => {
    let numbered = 0
    const counting = {
      positionBindings: (sql: string) => {
        numbered += 1
        return sql
      },
    }
    const end = keepNumberedTexts(counting)
    for (let i = 0; i < 1500; i += 1) counting.positionBindings(`select ${i}`)
    for (let i = 0; i < 10; i += 1) counting.positionBindings('select 1499')
    expect(numbered, 'while they are kept').to.equal(1500)
    counting.positionBindings('select 0')
    expect(numbered, 'after 1500 others').to.equal(1501)
    end()
    counting.positionBindings('select 1499')
    expect(numbered, 'at the end').to.equal(1502)
  })
})
