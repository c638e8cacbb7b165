const express = require('express')
const { UniqueViolationError, ValidationError } = require('objection')
require('./db')
const { authenticate } = require('./auth')

const app = express()
app.use(express.json())
app.use('/auth', require('./routes/auth'))
app.use(authenticate)
app.use('/customers', require('./routes/customers'))
app.use('/folders', require('./routes/folders'))
app.use('/projects', require('./routes/projects'))
app.use('/tasks', require('./routes/tasks'))
app.use('/attachments', require('./routes/attachments'))
app.use('/audit', require('./routes/audit'))

app.use((error, _req, res, next) => {
  if (error instanceof ValidationError) return res.status(422).json({ error: error.message })
  if (error instanceof UniqueViolationError) return res.status(409).json({ error: 'Already taken.' })
  next(error)
})

module.exports = app
