import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { runNode } from '../run-node.js'
import { manyModels } from './many-models.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const isFull = process.env['FULL'] === '1'
const allCompilers = ['typescript-5.9', 'typescript-6.0', 'typescript'] as const
/** The oldest and the newest supported compiler. With FULL=1, all. */
const compilers = isFull ? allCompilers : allCompilers.filter((compiler) => compiler !== 'typescript-6.0')
/** Applications that declare the interface Register, each in a program of its own. */
const registering = ['registered', 'registered-own-base']
const formats = { esm: 'module', cjs: 'commonjs' } as const

/** The upper bound of instantiations for the consumer: twice the number when this was written, so that only a large increase fails. */
const maxInstantiations = 400_000

/** The upper bound of instantiations for 60 models with mixins, policies and relations. It was 417,000 when this was written. */
const maxInstantiationsOfMany = 500_000

const compilerOptions = {
  target: 'es2022',
  module: 'nodenext',
  lib: ['es2023'],
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
  noImplicitOverride: true,
  skipLibCheck: false,
  declaration: true,
  rootDir: '.',
}

/** @types/koa names a type that content-disposition no longer has: so it is for all who use Koa without skipLibCheck. */
const notOurs = /node_modules\/@types\/koa\/index\.d\.ts.*content-disposition/

const version = (compiler: string) => JSON.parse(readFileSync(join(root, 'node_modules', compiler, 'package.json'), 'utf8')).version
const tsc = (compiler: string) => join(root, 'node_modules', compiler, 'bin/tsc')

function writeProject(folder: string, type: string, more: object = {}): void {
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type }))
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: { ...compilerOptions, ...more }, include: ['*.ts'], exclude: ['out-*'] }),
  )
}

describe('A consumer of the packed package', function () {
  this.timeout(180_000)
  let folder: string

  // Inside of the package's folder its own dependencies are found, and its own name is the packed package.
  before(() => {
    mkdirSync(join(root, '.tmp'), { recursive: true })
    folder = mkdtempSync(join(root, '.tmp', 'consumer-'))
    execFileSync('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], { cwd: root, stdio: 'pipe' })
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    mkdirSync(join(folder, 'node_modules'))
    execFileSync('tar', ['-xzf', join(folder, `objection-perms-${version}.tgz`), '-C', join(folder, 'node_modules')])
    cpSync(join(folder, 'node_modules/package'), join(folder, 'node_modules/objection-perms'), { recursive: true })
    rmSync(join(folder, 'node_modules/package'), { recursive: true })
    for (const [format, type] of Object.entries(formats)) {
      cpSync(join(root, 'test/types/consumer'), join(folder, format), { recursive: true })
      for (const name of registering) cpSync(join(root, 'test/types', name), join(folder, `${name}-${format}`), { recursive: true })
      for (const name of ['', ...registering.map((one) => `${one}-`)]) writeProject(join(folder, `${name}${format}`), type)
    }
    mkdirSync(join(folder, 'many'))
    writeFileSync(join(folder, 'many/models.ts'), manyModels(60))
    writeProject(join(folder, 'many'), 'module', { skipLibCheck: true })
  })
  after(() => {
    if (!isFull) console.log('  Left out of the compilers (FULL=1 runs all): TypeScript 6.0, and CommonJS on TypeScript 5.9')
    if (folder) rmSync(folder, { recursive: true, force: true })
  })

  for (const compiler of compilers) {
    it(`60 models with mixins, policies and relations to each other cost a bounded number of instantiations on TypeScript ${version(compiler)}`, async () => {
      const args = [tsc(compiler), '-p', '.', '--pretty', 'false', '--noEmit', '--extendedDiagnostics']
      const { output } = await runNode(args, { cwd: join(folder, 'many'), timeout: 120_000 })
      expect(output.split('\n').filter((line) => line.includes('error TS'))).to.deep.equal([])
      console.log(`        ${/Check time:.*/.exec(output)?.[0]}, ${/Instantiations:.*/.exec(output)?.[0]}`)
      expect(Number(/Instantiations:\s+(\d+)/.exec(output)?.[1])).to.be.within(1, maxInstantiationsOfMany)
    })
  }

  for (const format of Object.keys(formats)) {
    // The compilers differ in types rather than in formats, so CommonJS is compiled on the newest one.
    for (const compiler of isFull || format === 'esm' ? compilers : (['typescript'] as const)) {
      it(`compiles as ${format} with TypeScript ${version(compiler)}, without skipLibCheck`, async () => {
        const args = [tsc(compiler), '-p', '.', '--pretty', 'false', '--outDir', `out-${compiler}`, '--extendedDiagnostics']
        const { output } = await runNode(args, { cwd: join(folder, format), timeout: 120_000 })
        const errors = output.split('\n').filter((line) => line.includes('error TS') && !notOurs.test(line))
        expect(errors).to.deep.equal([])
        expect(Number(/Instantiations:\s+(\d+)/.exec(output)?.[1]), 'type instantiations').to.be.within(1, maxInstantiations)
      })
    }

    for (const name of registering) {
      it(`the interface Register types ids, users, roles and adapters of an application, as ${format}: ${name}`, async () => {
        const args = [tsc('typescript'), '-p', '.', '--pretty', 'false', '--noEmit']
        const { output } = await runNode(args, { cwd: join(folder, `${name}-${format}`), timeout: 120_000 })
        expect(output.split('\n').filter((line) => line.includes('error TS') && !notOurs.test(line))).to.deep.equal([])
      })
    }

    it(`runs as ${format}, where import and require reach the same classes`, async () => {
      const file = join(folder, format, 'out-typescript/run.js')
      const { output, failure } = await runNode([file], { cwd: join(folder, format), timeout: 60_000 })
      expect(failure, output).to.equal(undefined)
      expect(output).to.contain('{"admin":true,"same":true}')
    })
  }
})
