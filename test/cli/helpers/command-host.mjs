/**
 * Runs programs of test projects one after the other in this process, each as if it were the first one. A start of Node loads Knex,
 * Objection and this package, which takes half a second of work; the command itself takes a few milliseconds.
 *
 * A message of the parent is `{ file, args, cwd, env, stdin, folder }`: the program, and the folder of the project, whose modules are
 * loaded anew for each program. The answer is `{ code, stdout, stderr, isClean }`. Without isClean, something of the program remains:
 * the parent must end this process.
 */
import console from 'node:console'
import { register, syncBuiltinESMExports } from 'node:module'
import { Server } from 'node:net'
import process from 'node:process'
import { Readable } from 'node:stream'
import { pathToFileURL } from 'node:url'
import { MessageChannel } from 'node:worker_threads'

// The loader runs in a thread of its own.
const { port1: toLoader, port2: ofLoader } = new MessageChannel()
const loader = `
let run = { folder: undefined, number: 0 }
export function initialize({ port }) {
  port.on('message', (next) => { run = next; port.postMessage('ready') })
  port.unref()
}
export async function resolve(specifier, context, next) {
  const found = await next(specifier, context)
  const isOfProject = run.folder !== undefined && found.url.startsWith(run.folder)
  return isOfProject ? { ...found, url: found.url + '?run=' + run.number } : found
}`
register(`data:text/javascript,${encodeURIComponent(loader)}`, { data: { port: ofLoader }, transferList: [ofLoader] })

const { exit, env, stdout, stderr } = process
const { listen } = Server.prototype
const { warn } = console
const write = { stdout: stdout.write, stderr: stderr.write }
let runs = 0

process.on('message', async (program) => process.send(await run(program)))
process.on('disconnect', () => exit(0))

async function run({ file, args, cwd, env: given, stdin, folder }) {
  await new Promise((done) => {
    toLoader.once('message', done)
    toLoader.postMessage({ folder: pathToFileURL(folder).href, number: ++runs })
  })
  const listeners = new Map(['uncaughtException', 'exit'].map((event) => [event, process.listeners(event)]))
  const text = { stdout: '', stderr: '' }
  for (const [name, stream] of Object.entries({ stdout, stderr })) {
    stream.write = (chunk, ...others) => {
      text[name] += chunk
      others.findLast((one) => typeof one === 'function')?.()
      return true
    }
  }
  for (const name of Object.keys(env)) delete env[name]
  Object.assign(env, given)
  process.chdir(cwd)
  process.argv = [process.execPath, file, ...args]
  Object.defineProperty(process, 'stdin', { value: Readable.from(stdin === '' ? [] : [Buffer.from(stdin)]), configurable: true })

  const code = await new Promise((done) => {
    process.exit = (status = process.exitCode ?? 0) => {
      done(status)
      // Nothing runs after exit().
      return new Promise(() => undefined)
    }
    syncBuiltinESMExports()
    import(`${pathToFileURL(file).href}?run=${runs}`).then(
      () => done(process.exitCode ?? 0),
      (error) => {
        text.stderr += String(error?.stack)
        done(1)
      },
    )
  })

  for (const [event, before] of listeners)
    for (const one of process.listeners(event)) if (!before.includes(one)) process.removeListener(event, one)
  stdout.removeAllListeners('error')
  Object.assign(stdout, { write: write.stdout })
  Object.assign(stderr, { write: write.stderr })
  console.warn = warn
  Server.prototype.listen = listen
  process.exitCode = undefined
  process.chdir('/')
  const shared = globalThis[Symbol.for('objection-perms')]
  const isClean = shared === undefined || shared.runtimes.size === 0
  if (shared) Object.assign(shared, { adapterCreated: false, first: null, hasBegun: false })
  return { code, ...text, isClean }
}
