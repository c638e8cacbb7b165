const express = require('express')
const { authenticate, errorHandler } = require('./auth')

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

app.use(errorHandler())

module.exports = app
