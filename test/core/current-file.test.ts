import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { currentFile, loadPackage } from '../../src/core/current-file.js'

const here = new URL(import.meta.url)

describe('currentFile()', () => {
  it('returns the file of the caller, without a query', () => {
    const file = currentFile() as string
    expect(file.startsWith('file:') ? fileURLToPath(file) : file).to.equal(fileURLToPath(here))
  })

  it('does not change the format and length of stack traces', () => {
    const { prepareStackTrace, stackTraceLimit } = Error
    const custom = () => 'custom'
    Error.prepareStackTrace = custom
    Error.stackTraceLimit = 0
    try {
      expect(currentFile()).to.be.a('string')
      expect(Error.prepareStackTrace).to.equal(custom)
      expect(Error.stackTraceLimit).to.equal(0)
    } finally {
      if (prepareStackTrace === undefined) Reflect.deleteProperty(Error, 'prepareStackTrace')
      else Error.prepareStackTrace = prepareStackTrace
      Error.stackTraceLimit = stackTraceLimit
    }
  })
})

describe('loadPackage()', () => {
  it('finds packages from the folder of the library, whatever the working directory is', async () => {
    const before = process.cwd()
    const elsewhere = await mkdtemp(join(tmpdir(), 'perms-'))
    process.chdir(elsewhere)
    try {
      expect(existsSync(loadPackage((require) => require.resolve('objection/package.json')))).to.equal(true)
    } finally {
      process.chdir(before)
      await rm(elsewhere, { recursive: true })
    }
  })

  it('throws the error of the first attempt when the working directory lacks the package too', () => {
    const attempts: string[] = []
    expect(() =>
      loadPackage((require) => {
        attempts.push(`attempt ${attempts.length + 1}`)
        require.resolve('objection')
        throw new Error(attempts.at(-1))
      }),
    ).to.throw('attempt 1')
    expect(attempts).to.have.length(2)
  })
})
