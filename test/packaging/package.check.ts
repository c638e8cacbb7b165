import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { runNode } from '../run-node.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, string | { types: string; default: string }>
}
const subpaths = Object.keys(manifest.exports).filter((name) => name !== './package.json')
const specifier = (subpath: string) => `objection-perms${subpath.slice(1)}`

describe('The package', function () {
  this.timeout(120_000)
  let packed: string[]

  before(() => {
    const output = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root, encoding: 'utf8', stdio: 'pipe' })
    const report = JSON.parse(output) as { files: { path: string }[] }[] | Record<string, { files: { path: string }[] }>
    packed = Object.values(report).flatMap(({ files }) => files.map(({ path }) => path))
  })

  it('satisfies publint', async () => {
    const { messages, pkg } = await publint({ pkgDir: root, strict: true })
    expect(messages.map((message) => formatMessage(message, pkg ?? {}, { color: false }))).to.deep.equal([])
  })

  it('has types that agree with its code in every way of importing it (attw)', async () => {
    const attw = join(root, 'node_modules/@arethetypeswrong/cli/dist/index.js')
    // `attw --pack` would build again, which removes the files that other tests use at the same time.
    const folder = mkdtempSync(join(tmpdir(), 'objection-perms-pack-'))
    try {
      const pack = ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder]
      const name = execFileSync('npm', pack, { cwd: root, encoding: 'utf8', stdio: 'pipe' }).trim()
      const args = [attw, join(folder, name), '--profile', 'esm-only', '--format', 'ascii']
      const { output, failure } = await runNode(args, { cwd: root, timeout: 100_000 })
      expect(failure, output).to.equal(undefined)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('contains only the code and the files that users read', () => {
    const strange = packed.filter(
      (path) =>
        !/^(dist\/.+\.(js|js\.map|d\.ts)|migrations\/.+\.(js|d\.ts)|docs\/([\w-]+\.md|plots\/[\w-]+\.svg)|(dist\/)?package\.json|README\.md|LICENSE)$/.test(
          path,
        ),
    )
    expect(strange).to.deep.equal([])
    expect(packed).to.include.members(['LICENSE', 'README.md', 'package.json', 'dist/index.js', 'dist/index.d.ts'])
    expect(packed.some((path) => path.startsWith('migrations/'))).to.equal(true)
  })

  it('contains every page of the docs, and the files that its README links to', () => {
    const pages = readdirSync(join(root, 'docs'), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    expect(packed).to.include.members(pages.map(({ parentPath, name }) => relative(root, join(parentPath, name))))
    const links = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/\]\((docs\/[^)#\s]+)/g)].map(([, path]) => path as string)
    expect(links).to.have.length.above(10)
    expect(packed).to.include.members(links)
  })

  it('contains a short manifest for its modules, which Node parses at each import', () => {
    const text = readFileSync(join(root, 'dist/package.json'), 'utf8')
    expect(JSON.parse(text)).to.deep.equal({ type: 'module' })
    expect(packed).to.include('dist/package.json')
  })

  it('holds every file that its exports name', () => {
    const named = Object.values(manifest.exports).flatMap((entry) => (typeof entry === 'string' ? [entry] : [entry.types, entry.default]))
    expect(packed).to.include.members(named.map((path) => path.replace('./', '')))
  })

  it('holds the source of every source map', () => {
    for (const path of packed.filter((name) => name.endsWith('.js.map'))) {
      const map = JSON.parse(readFileSync(join(root, path), 'utf8')) as { sourcesContent?: unknown[] }
      expect(map.sourcesContent, path).to.have.length.above(0)
    }
  })

  for (const subpath of subpaths) {
    it(`gives the same to import and require: ${specifier(subpath)}`, async () => {
      const name = JSON.stringify(specifier(subpath))
      const script = `
        const required = require(${name})
        import(${name}).then((imported) => {
          const names = Object.keys(imported)
          if (names.length === 0 || names.some((n) => imported[n] !== required[n])) throw new Error('not the same: ' + names)
        })`
      const { output, failure } = await runNode(['--input-type=commonjs', '--no-warnings', '--eval', script], {
        cwd: root,
        timeout: 30_000,
      })
      expect(failure, output).to.equal(undefined)
    })
  }
})
