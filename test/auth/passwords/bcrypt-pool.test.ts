import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect } from 'chai'
import ts from 'typescript-5.9'
import { bcryptHasher } from '../../../src/auth/passwords/bcrypt-hasher.js'
import { BcryptPool } from '../../../src/auth/passwords/bcrypt-pool.js'
import { workerSource } from '../../../src/auth/passwords/bcrypt-worker-source.js'
import { ServiceUnavailableError } from '../../../src/core/errors.js'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../../../', import.meta.url))

const failingScript = `import { bcryptHasher } from './auth/passwords/bcrypt-hasher.js'
  const hasher = bcryptHasher({ cost: 10, threads: 1 })
  const attempt = () => hasher.hash('correct horse').then(() => 'hashed', (error) => (error.status === 503 ? 503 : error.status + ': ' + error.message))
  const [a, b, c] = await Promise.all([attempt(), attempt(), attempt()])
  console.log(parseInt(a), parseInt(b), parseInt(c), await attempt())`

describe('Password hashing', () => {
  it('does not block the event loop [promise 9]', async () => {
    const hasher = bcryptHasher({ cost: 12, threads: 1 })
    await hasher.hash('starts the thread')
    let turns = 0
    let longest = 0
    let last = performance.now()
    let busy = true
    const turn = () => {
      const now = performance.now()
      longest = Math.max(longest, now - last)
      last = now
      turns++
      if (busy) setImmediate(turn)
    }
    setImmediate(turn)
    const start = performance.now()
    await hasher.hash('correct horse')
    const took = performance.now() - start
    busy = false
    await hasher.close()
    expect(turns).to.be.greaterThan(100)
    // Relative, so that a slow machine passes too. On the event loop, the longest turn would be as long as the whole hash.
    expect(longest).to.be.lessThan(took / 2)
  })

  it('does not keep a script alive, run from the sources', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'perms-'))
    const script = join(folder, 'script.mjs')
    await writeFile(script, scriptFor(new URL('../../../src/auth/passwords/bcrypt-hasher.ts', import.meta.url).href))
    const { stdout } = await run(process.execPath, ['--import', 'tsx', script], { cwd: root, timeout: 60_000 })
    await rm(folder, { recursive: true })
    expect(stdout.trim()).to.equal('true')
  }).timeout(60_000)

  it('does not keep a script alive, compiled, and does not preload modules of the application in its threads', async () => {
    const folder = await compiled()
    await writeFile(
      join(folder, 'preload.js'),
      `import { isMainThread } from 'node:worker_threads'
      if (!isMainThread) throw new Error('preloaded in a thread')`,
    )
    const script = scriptFor('./auth/passwords/bcrypt-hasher.js')
    const { stdout } = await run(process.execPath, ['--import', './preload.js', '--input-type=module', '-e', script], {
      cwd: folder,
      timeout: 60_000,
    })
    await rm(folder, { recursive: true })
    expect(stdout.trim()).to.equal('true')
  }).timeout(60_000)

  it('needs only the module that starts the threads, and no other file', async () => {
    const folder = await compiled()
    await rm(join(folder, 'auth/passwords/bcrypt-worker-source.js'))
    await writeFile(
      join(folder, 'auth/passwords/bcrypt-worker-source.js'),
      `export const workerSource = () => ${JSON.stringify(workerSource())}`,
    )
    await rm(join(folder, 'node_modules'))
    await mkdir(join(folder, 'node_modules'))
    await symlink(join(root, 'node_modules/bcryptjs'), join(folder, 'node_modules/bcryptjs'))
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', scriptFor('./auth/passwords/bcrypt-hasher.js')], {
      cwd: folder,
      timeout: 60_000,
    })
    await rm(folder, { recursive: true })
    expect(stdout.trim()).to.equal('true')
  }).timeout(60_000)

  it('answers 503 instead of hanging when threads end before they hash', async () => {
    const folder = await compiled()
    await writeFile(join(folder, 'auth/passwords/bcrypt-worker-source.js'), `export const workerSource = () => 'process.exit(3)'`)
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', failingScript], { cwd: folder, timeout: 60_000 })
    await rm(folder, { recursive: true })
    expect(stdout.trim()).to.equal('503 503 503 503')
  }).timeout(60_000)

  it('names the missing option of Node when the process may not start threads', async () => {
    const folder = await compiled()
    const permissions = process.allowedNodeEnvironmentFlags.has('--permission') ? '--permission' : '--experimental-permission'
    const args = [permissions, '--allow-fs-read=*', '--input-type=module', '-e', failingScript]
    const { stdout } = await run(process.execPath, args, { cwd: folder, timeout: 60_000 })
    await rm(folder, { recursive: true })
    expect(stdout.trim()).to.equal(
      '500 500 500 500: bcryptHasher() needs a worker thread, and the permission model of Node forbids them: start Node with --allow-worker.',
    )
  }).timeout(60_000)

  /** Creates a folder with the compiled modules. */
  async function compiled(): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'perms-'))
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
    await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
    const names = new Set(['auth/passwords/bcrypt-hasher'])
    for (const name of names) {
      const source = await readFile(join(root, 'src', `${name}.ts`), 'utf8')
      const options = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, verbatimModuleSyntax: true }
      const text = ts.transpileModule(source, { compilerOptions: options }).outputText
      await mkdir(join(folder, name, '..'), { recursive: true })
      await writeFile(join(folder, `${name}.js`), text)
      for (const [, path = ''] of text.matchAll(/(?:from |import\()'(\.[^']+)\.js'/g)) names.add(join(name, '..', path))
    }
    return folder
  }

  function scriptFor(module: string): string {
    return `import { bcryptHasher } from ${JSON.stringify(module)}
      const hasher = bcryptHasher({ cost: 10 })
      console.log(await hasher.verify('correct horse', await hasher.hash('correct horse')))`
  }
})

describe('BcryptPool', () => {
  const hash: [string, string] = ['abc', '$2b$08$......................']

  it('answers 503 with Retry-After when too many calls wait, and keeps working', async () => {
    const pool = new BcryptPool(1, 2)
    const results = await Promise.allSettled([1, 2, 3, 4, 5].map(() => pool.run([hash])))
    expect(results.map(({ status }) => status)).to.deep.equal(['fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'rejected'])
    const { reason } = results[3] as PromiseRejectedResult
    expect(reason).to.be.instanceOf(ServiceUnavailableError)
    expect((reason as ServiceUnavailableError).retryAfter).to.be.greaterThan(0)
    expect(await pool.run([hash])).to.have.length(1)
    await pool.close()
  })

  it('finishes running calls when it is closed, and refuses later ones', async () => {
    const pool = new BcryptPool(1, 64)
    const underWay = Promise.all([pool.run([hash]), pool.run([hash])])
    const closing = pool.close()
    const late: unknown = await pool.run([hash]).catch((error: unknown) => error)
    expect(late).to.be.instanceOf(ServiceUnavailableError)
    expect(await underWay).to.have.length(2)
    await closing
  })

  it('closes when it has not started', async () => {
    await new BcryptPool(1, 64).close()
  })

  it('answers 503 to running and waiting calls when a thread fails, and continues with a new thread', async () => {
    const pool = new BcryptPool(1, 64)
    const results = await Promise.allSettled([pool.run([['abc', 'no salt']]), pool.run([hash])])
    expect(results[0]?.status).to.equal('rejected')
    expect((results[0] as PromiseRejectedResult).reason).to.be.instanceOf(ServiceUnavailableError)
    expect(await pool.run([hash])).to.have.length(1)
    await pool.close()
  })
})
