import type { Server } from 'node:http'
import { fastify } from 'fastify'
import {
  BadRequestError,
  NotFoundError,
  PayloadTooLargeError,
  type Perms,
  Role,
  UnsupportedMediaTypeError,
  ValidationError,
} from 'objection-perms'
import { fastifyAdapter } from 'objection-perms/fastify'
import { accounts } from './accounts.js'
import { zooApi } from './api.js'
import { zooPages } from './pages.js'
import { zooReport } from './reports.js'

/** The zoo on Fastify 5. */
export async function serveWithFastify(perms: Perms, port: number, host: string): Promise<Server> {
  const { authenticate, router, requireUser, requireRole, errorHandler } = fastifyAdapter(perms)
  const { register, login, profile } = accounts(perms)
  const app = fastify()
  const answerError = errorHandler()
  app.setErrorHandler((error, request, reply) => answerError(bodyError(error), request, reply))
  // The only other type that Fastify reads by itself.
  app.removeContentTypeParser('text/plain')

  app.get('/health', async () => ({ status: 'ok' }))

  // Outside of authenticate()'s part: whoever signs in may still send a token that has expired.
  app.post('/auth/register', async (request, reply) => {
    reply.code(201)
    return await register(request.body, { address: request.ip })
  })
  app.post('/auth/login', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    return await login(request.body, { address: request.ip })
  })

  app.register(router(zooPages(perms)))
  app.register(async (inside) => {
    inside.register(authenticate())
    inside.register(router(zooApi()))
    inside.get('/auth/profile', { onRequest: requireUser() }, async () => await profile())
    inside.get('/reports', { onRequest: requireRole(Role.ADMIN) }, async () => await zooReport())
    inside.setNotFoundHandler(async () => {
      throw new NotFoundError()
    })
  })

  await app.listen({ port, host })
  return app.server
}

/** What Fastify finds wrong with a body, as the library's errors. */
function bodyError(error: unknown): unknown {
  const { code, statusCode } = error as { code?: string; statusCode?: number }
  if (code === 'FST_ERR_CTP_EMPTY_JSON_BODY') return new ValidationError('The body must be a JSON object with email and password.')
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return new PayloadTooLargeError('The body is too large.')
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE')
    return new UnsupportedMediaTypeError('Send the body as JSON, with "Content-Type: application/json".')
  if (code?.startsWith('FST_ERR_CTP_') || statusCode === 400) return new BadRequestError('The body is not valid JSON in UTF-8.')
  return error
}
