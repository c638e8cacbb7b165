const { Router } = require('express')

// Express 4 does not pass the rejections of handlers on, so this router does.
const forward = (handler) => (req, res, next) => Promise.resolve(handler(req, res, next)).catch(next)

module.exports = () => {
  const router = Router()
  for (const method of ['get', 'post', 'patch', 'delete']) {
    const add = router[method].bind(router)
    router[method] = (path, ...handlers) => add(path, ...handlers.map(forward))
  }
  return router
}
