import { fetchAdapter } from 'objection-perms/fetch'
import { application } from '../../../lib/notes.js'

let serve

function handler(request) {
  serve ??= start()
  return serve(request)
}

function start() {
  const { perms, api } = application()
  const { authenticate, router } = fetchAdapter(perms)
  return authenticate(router(api))
}

export { handler as DELETE, handler as GET, handler as PATCH, handler as POST, handler as PUT }
