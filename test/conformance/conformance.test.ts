import { expect } from 'chai'
import Knex from 'knex'
import { type ConformanceTarget, conformance, nodeReference, type Responses } from '../../src/testing/conformance/index.js'
import { clientOf, embeddedDriver } from '../helpers/databases.js'
import { apps } from './apps.js'

const knex = () => Knex({ client: clientOf(embeddedDriver), connection: ':memory:', useNullAsDefault: true })

/** Cases that some servers cannot pass. */
const limits: Record<string, Partial<ConformanceTarget>> = {
  fetch: { normalizesPaths: true, trace: false, absoluteTargets: false },
  hono: { normalizesPaths: true },
}

let responses: Promise<Responses> | undefined
const reference = () => {
  responses ??= nodeReference(knex)
  return responses
}

describe('The adapter of node:http', () => {
  // The first hook of the suite would have to wait for it, which takes longer than its limit on a busy machine.
  it('gives the responses that the others are compared with', async function () {
    this.timeout(120_000)
    expect((await reference()).size).to.be.greaterThan(0)
  })
})

for (const [name, start] of Object.entries(apps))
  conformance(name, { knex, start, parsesBodies: name.includes('parser'), ...limits[name] }, { describe, it, before, after }, reference)
