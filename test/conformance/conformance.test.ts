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

for (const [name, start] of Object.entries(apps))
  conformance(name, { knex, start, parsesBodies: name.includes('parser'), ...limits[name] }, { describe, it, before, after }, reference)
