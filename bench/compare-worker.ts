/** Measures one build of the package for compare.ts, one slice at a time. Its argument is the folder of the package. */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type KnexModule from 'knex'
import type * as Objection from 'objection'
import type * as Library from 'objection-perms'
import { openCases } from './perms-cases.js'

/** Asks for measurements of a case: slices of so many operations, through the library and by hand in turns. */
export interface Request {
  readonly name: string
  readonly slices: number
  readonly operations: number
}

/** The CPU time of one operation in microseconds, for each slice. */
export interface Times {
  readonly ours: number[]
  readonly plain: number[]
}

const folder = process.argv[2] as string
const require = createRequire(join(folder, 'package.json'))
const library: typeof Library = await import(pathToFileURL(join(folder, 'dist/index.js')).href)
const objection: typeof Objection = require('objection')
const Knex: typeof KnexModule = require('knex')

const knex = Knex({ client: 'better-sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
const { cases, asUser, close } = await openCases(library, objection, knex, knex)

async function measure({ name, slices, operations }: Request): Promise<Times> {
  const found = cases.find((one) => one.name === name)
  if (!found) throw new Error(`There is no case '${name}'.`)
  const timeOf = async (work: () => PromiseLike<unknown>): Promise<number> => {
    const start = process.cpuUsage()
    for (let i = 0; i < operations; i += 1) await work()
    const { user, system } = process.cpuUsage(start)
    return (user + system) / operations
  }
  const times: Times = { ours: [], plain: [] }
  for (let i = 0; i < slices; i += 1) {
    times.ours.push(await asUser(() => timeOf(found.ours)))
    times.plain.push(await timeOf(found.plain))
  }
  return times
}

process.on('message', async (request: Request | 'end') => {
  if (request !== 'end') return void process.send?.(await measure(request))
  await close()
  await knex.destroy()
  process.disconnect()
})
process.send?.(cases.map(({ name }) => name))
