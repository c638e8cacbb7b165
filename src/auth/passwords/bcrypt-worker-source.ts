import { readFileSync } from 'node:fs'
import { loadPackage } from '../../core/current-file.js'

/**
 * Returns the program of a worker thread: bcryptjs, and the loop that hashes. It is text, because a bundle has no files beside it. The
 * build replaces this module with its result (scripts/embed-bcrypt.mjs); only the sources read bcryptjs at run time.
 */
export function workerSource(): string {
  const bcrypt = loadPackage((require) => readFileSync(require.resolve('bcryptjs'), 'utf8'))
  // Node evaluates it as CommonJS or as a module, depending on its options: `require` may be missing.
  return `'use strict'
const getBuiltin = (name) => process.getBuiltinModule(name)
const bcryptModule = { exports: {} }
;(function (module, exports, require) {
${bcrypt}
})(bcryptModule, bcryptModule.exports, getBuiltin)
const { parentPort } = getBuiltin('worker_threads')
parentPort.on('message', (work) => {
  parentPort.postMessage(work.map(([input, salt]) => bcryptModule.exports.hashSync(input, salt)))
})
`
}
