import type { Server } from 'node:http'
import { type FastifyRequest, fastify } from 'fastify'
import { BadRequestError, NotFoundError, type Perms, Role } from 'objection-perms'
import { fastifyAdapter } from 'objection-perms/fastify'
import { accounts } from './accounts.js'
import { zooApi } from './api.js'
import { readJson } from './json-body.js'
import { zooPages } from './pages.js'
import { zooReport } from './reports.js'

/** The zoo on Fastify 5. */
export async function serveWithFastify(perms: Perms, port: number, host: string): Promise<Server> {
  const { authenticate, router, requireUser, requireRole, errorHandler } = fastifyAdapter(perms)
  const { register, login, profile } = accounts(perms)
  const answerError = errorHandler()
  const app = fastify({
    routerOptions: { ignoreTrailingSlash: true },
    // Paths that its router cannot read.
    frameworkErrors: (error, request, reply) =>
      answerError(
        error.code === 'FST_ERR_BAD_URL' ? new BadRequestError('The path has an invalid percent-encoding.') : new NotFoundError(),
        request,
        reply,
      ),
  })
  app.setErrorHandler(answerError)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))

  app.get('/health', async () => ({ status: 'ok' }))

  // Outside of authenticate()'s part: whoever signs in may still send a token that has expired.
  app.post('/auth/register', async (request, reply) => {
    reply.code(201)
    return await register(await json(request), { address: request.ip })
  })
  app.post('/auth/login', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    return await login(await json(request), { address: request.ip })
  })

  app.register(router(zooPages(perms)))
  app.register(async (inside) => {
    inside.register(authenticate())
    inside.register(router(zooApi(perms)))
    inside.get('/auth/profile', { onRequest: requireUser() }, async () => await profile())
    inside.get('/reports', { onRequest: requireRole(Role.ADMIN) }, async () => await zooReport())
    inside.setNotFoundHandler(async () => {
      throw new NotFoundError()
    })
  })

  await app.listen({ port, host })
  return app.server
}

const json = (request: FastifyRequest) => readJson((name) => request.headers[name], request.raw)
