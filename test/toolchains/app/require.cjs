const { initPerms } = require('objection-perms')
const { scenario } = require('./scenario.mjs')

if (typeof initPerms !== 'function') throw new Error('require() did not return the exports.')
scenario().then((result) => console.log(JSON.stringify(result)))
