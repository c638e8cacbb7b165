import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import Knex from 'knex'
import { interceptResponse, keepContext, nodeRequest, sendNode } from '../../src/adapters/node.js'
import { createAdapter, HttpResponse } from '../../src/index.js'
import { type ConformanceTarget, conformance, nodeReference, type Responses } from '../../src/testing/conformance/index.js'

const knex = () => Knex({ client: clientOf(embeddedDriver), connection: ':memory:', useNullAsDefault: true })

import { clientOf, embeddedDriver } from '../helpers/databases.js'

/** The faults of an adapter. */
interface Faults {
  readonly skipsAuthentication?: boolean
  readonly losesContext?: boolean
  readonly dropsCookies?: boolean
  readonly ignoresRoles?: boolean
}

/** A minimal adapter made with createAdapter(), with the given faults. */
function adapterWith(faults: Faults): ConformanceTarget['start'] {
  return async (perms, api, routes) => {
    const adapter = createAdapter(perms, { onError: () => undefined })
    const mounted = adapter.mount(api)
    const respond = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
      const request = nodeRequest(req)
      const send = (response: HttpResponse) =>
        sendNode(faults.dropsCookies ? new HttpResponse(response.status, response.headers, response.body) : response, res)
      const continuation = (next: () => unknown) => ({
        next: async () => void (await next()),
        refuse: async (response: HttpResponse) => send(response),
        fail: (error: unknown) => Promise.reject(error),
        unlessRefused: (go: () => Promise<void>, refusal: () => HttpResponse | null) => {
          interceptResponse(res, refusal)
          return go()
        },
      })
      const route = routes.find(({ path }) => path === request.path)
      const run = async () => {
        const text = JSON.stringify(await route?.handler())
        res.setHeader('content-type', 'application/json; charset=utf-8')
        res.end(text)
      }
      const serve = async () => {
        const answer = mounted.handle(request)
        if (answer !== null) send(await answer)
        else if (route === undefined) res.writeHead(404).end()
        else if (route.requires === undefined) await run()
        else if (route.requires.role === undefined || faults.ignoresRoles)
          await adapter.requireUser(request, continuation(run), route.requires.options)
        else await adapter.requireRole(request, route.requires.role, continuation(run), route.requires.options)
      }
      keepContext(req)
      try {
        if (faults.skipsAuthentication) await serve()
        else if (faults.losesContext)
          await new Promise(
            (resolve) =>
              void adapter.authenticate(
                request,
                continuation(() => resolve(null)),
              ),
          ).then(serve)
        else await adapter.authenticate(request, continuation(serve))
      } catch (error) {
        send(adapter.answerError(error, request) ?? HttpResponse.empty({ status: 500 }))
      }
    }
    const server = createServer((req, res) => void respond(req, res))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const close = async () => {
      server.close()
      server.closeAllConnections()
    }
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close }
  }
}

/**
 * Runs the suite at once, or the tests with one title.
 *
 * @returns the titles of the tests that failed, and of those that passed
 */
async function outcomeOf(
  faults: Faults,
  reference: () => Promise<Responses>,
  only?: string,
): Promise<{ failed: string[]; passed: string[] }> {
  const steps: { readonly title: string | null; run(): Promise<void> }[] = []
  const lasts: (() => Promise<void>)[][] = []
  conformance(
    'minimal',
    { knex, start: adapterWith(faults) },
    {
      describe: (_title, register) => {
        lasts.push([])
        register()
        for (const run of lasts.pop() ?? []) steps.push({ title: null, run })
      },
      it: (title, run) => (only === undefined || only === title) && steps.push({ title, run }),
      before: (run) => steps.push({ title: null, run }),
      after: (run) => lasts.at(-1)?.push(run),
    },
    reference,
  )
  const failed: string[] = []
  const passed: string[] = []
  for (const { title, run } of steps) {
    if (title === null) await run()
    else
      await run().then(
        () => void passed.push(title),
        () => void failed.push(title),
      )
  }
  return { failed, passed }
}

describe('conformance()', function () {
  this.timeout(120_000)
  let responses: Promise<Responses> | undefined
  const reference = () => {
    responses ??= nodeReference(knex)
    return responses
  }

  it('passes an adapter that was written with createAdapter()', async () => {
    const { failed, passed } = await outcomeOf({}, reference)
    expect(failed).to.deep.equal([])
    expect(passed).to.have.length.above(270)
  })

  for (const [fault, title] of [
    ['skipsAuthentication', "the application's routes run as the caller"],
    ['losesContext', "the application's routes run as the caller"],
    ['dropsCookies', 'sign-in sets two cookies in separate headers and shows no token'],
    ['ignoresRoles', 'requireRole gives 403 to a user without the role'],
  ] as const) {
    it(`fails an adapter with the fault '${fault}'`, async () => {
      const only = process.env['FULL'] === '1' ? undefined : title
      expect((await outcomeOf({}, reference, title)).failed).to.deep.equal([])
      expect((await outcomeOf({ [fault]: true }, reference, only)).failed).to.include(title)
    })
  }
})
