import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { openApiDocument } from '../../http/openapi/document.js'
import { findApi } from '../application/find-api.js'
import { defineCommand } from '../command.js'
import { CliError } from '../failure.js'
import { writeWholeFile } from '../write-file.js'

/** `objection-perms openapi` */
export const openapi = defineCommand({
  options: {
    out: { type: 'string', value: 'FILE', summary: 'Write the document into this file. Default: print it.' },
    api: {
      type: 'string',
      value: 'FILE',
      summary: 'The module that exports the Api. Default: the application, or api.ts, app.ts, server.ts ...',
    },
    export: { type: 'string', value: 'NAME', summary: 'The name of the exported Api, if the module exports several.' },
    force: { type: 'boolean', summary: 'Replace FILE even if it is no OpenAPI document.' },
  },
  details: ['It is the document that the Api serves at /openapi.json. Only models without a schema need the database.'],
  example: 'npx objection-perms openapi --out openapi.json',
  async run({ options, cwd, application }) {
    const out = options.out === undefined ? undefined : resolve(cwd, options.out)
    if (out !== undefined && !options.force) await assertReplaceable(out)
    const app = await application()
    const api = await findApi(app, { cwd, file: options.api, name: options.export })
    // Reads nothing if the models declare their columns.
    await app.perms.ready()
    const document = app.perms.enter(() => openApiDocument(api, app.perms))
    const text = JSON.stringify(document, null, 2)
    if (out === undefined) return { lines: [text], json: document }
    await writeWholeFile(out, `${text}\n`)
    const paths = Object.keys(document.paths).length
    return { lines: [`Wrote ${paths} paths to ${options.out}.`], json: { file: out, paths } }
  },
})

/** @throws CliError for a file that is no OpenAPI document */
async function assertReplaceable(path: string): Promise<void> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return
    throw error instanceof Error ? Object.assign(error, { path }) : error
  }
  if (/^\s*\{\s*"openapi"\s*:/.test(text)) return
  throw new CliError(`${path} exists, and is no OpenAPI document. Choose another file, or replace it with --force.`)
}
