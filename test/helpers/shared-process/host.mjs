/**
 * Runs programs one after the other in this process, each as if it were the first one. A start of Node loads Knex, Objection, this package
 * and the frameworks, which takes a second of work or more; most programs take a few milliseconds.
 *
 * The parent sends `{ program: { file, args, cwd, env, stdin, folder } }`, and `{ signal }` for the program that runs. Modules below
 * `folder` are loaded anew for each program. Answers are `{ name, text }` for each output, and in the end `{ code, isClean }`. Without
 * isClean, something of the program remains: the parent must end this process.
 */
import console from 'node:console'
import { register, syncBuiltinESMExports } from 'node:module'
import { Server } from 'node:net'
import process from 'node:process'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { inspect } from 'node:util'
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
  const isOfProgram = run.folder !== undefined && found.url.startsWith(run.folder) && !found.url.includes('/node_modules/')
  return isOfProgram ? { ...found, url: found.url.replace(/[?].*/, '') + '?run=' + run.number } : found
}`
register(`data:text/javascript,${encodeURIComponent(loader)}`, { data: { port: ofLoader }, transferList: [ofLoader] })

const { exit, env, stdout, stderr } = process
const { listen } = Server.prototype
const { warn } = console
const write = { stdout: stdout.write, stderr: stderr.write }
const events = ['uncaughtException', 'unhandledRejection', 'warning', 'exit', 'SIGTERM', 'SIGINT']
let runs = 0
/** Ends the program that runs. */
let end = (_code) => undefined

process.on('message', async ({ program, signal }) => {
  if (signal !== undefined) process.emit(signal, signal)
  else process.send(await run(program))
})
process.on('disconnect', () => exit(0))
process.on('uncaughtException', (error) => {
  // A program that handles such errors has a listener of its own.
  if (process.listenerCount('uncaughtException') > 1) return
  stderr.write(`${inspect(error)}\n`)
  end(1)
})

const shared = () => globalThis[Symbol.for('objection-perms')]
const openRuntimes = () => shared()?.runtimes.size ?? 0

async function run({ file, args, cwd, env: given, stdin, folder }) {
  await new Promise((done) => {
    toLoader.once('message', done)
    toLoader.postMessage({ folder: pathToFileURL(folder).href, number: ++runs })
  })
  const listeners = new Map(events.map((event) => [event, process.listeners(event)]))
  for (const [name, stream] of Object.entries({ stdout, stderr })) {
    stream.write = (chunk, ...others) => {
      process.send({ name, text: String(chunk) })
      others.findLast((one) => typeof one === 'function')?.()
      return true
    }
  }
  for (const name of Object.keys(env)) delete env[name]
  Object.assign(env, given)
  process.chdir(cwd)
  process.argv = [process.execPath, file, ...args]
  Object.defineProperty(process, 'stdin', { value: Readable.from(stdin === '' ? [] : [Buffer.from(stdin)]), configurable: true })

  let hasLeftovers = false
  const idle = activeResources()
  const code = await new Promise((done) => {
    end = done
    process.exit = (status = process.exitCode ?? 0) => {
      done(status)
      // Nothing runs after exit().
      return new Promise(() => undefined)
    }
    syncBuiltinESMExports()
    import(`${pathToFileURL(file).href}?run=${runs}`).then(
      async () => {
        if (await untilIdle(idle)) return done(process.exitCode ?? 0)
        hasLeftovers = true
        done('did not end')
      },
      (error) => {
        stderr.write(`${inspect(error)}\n`)
        done(1)
      },
    )
  })

  end = () => undefined
  for (const [event, before] of listeners)
    for (const one of process.listeners(event)) if (!before.includes(one)) process.removeListener(event, one)
  stdout.removeAllListeners('error')
  Object.assign(stdout, { write: write.stdout })
  Object.assign(stderr, { write: write.stderr })
  console.warn = warn
  Server.prototype.listen = listen
  process.exitCode = undefined
  process.chdir('/')
  const isClean = openRuntimes() === 0 && !hasLeftovers
  if (shared()) Object.assign(shared(), { adapterCreated: false, first: null, hasBegun: false })
  return { code, isClean }
}

/** Returns how many things keep this process alive, the timer of untilIdle() not counted. */
function activeResources() {
  return process.getActiveResourcesInfo().filter((name) => name !== 'Immediate').length
}

/** Milliseconds that a program may take to end after it has closed its last runtime. */
const PATIENCE = 3000
/** Milliseconds without anything that keeps a process alive, after which a program with an open runtime has ended. */
const QUIET = 500

/**
 * Waits until the program has closed what it opened: then its process would end. Returns whether it did. A program that forgets to close a
 * runtime ends too, since a runtime alone keeps no process alive. Its leftovers make the host end.
 */
async function untilIdle(idle) {
  let closed = Date.now()
  let busy = Date.now()
  for (let quiet = 0; quiet < 2; ) {
    const isOpen = openRuntimes() > 0
    if (isOpen || !shared()?.hasBegun) closed = Date.now()
    if (activeResources() > idle) busy = Date.now()
    if (isOpen && Date.now() - busy > QUIET) return true
    if (Date.now() - closed > PATIENCE) return false
    quiet = !isOpen && activeResources() <= idle ? quiet + 1 : 0
    if (quiet < 2) await sleep(10)
  }
  return true
}
