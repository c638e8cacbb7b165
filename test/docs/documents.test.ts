import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import * as errors from '../../src/core/errors.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const markdown = (folder: string) => readdirSync(join(root, folder)).filter((name) => name.endsWith('.md'))
const documents = [...markdown('.'), ...markdown('docs').map((name) => `docs/${name}`)]

/** As the pages of a repository make them of headings. */
const anchorOf = (heading: string) =>
  heading
    .toLowerCase()
    .replace(/[^\w\s-]/g, '')
    .trim()
    .replace(/\s/g, '-')

const withoutBlocks = (text: string) => text.replaceAll(/^```[\s\S]*?^```$/gm, '')
const anchorsIn = (text: string) => [...withoutBlocks(text).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => anchorOf(heading))

describe('The documents', () => {
  for (const document of documents) {
    it(`${document} has no broken links`, () => {
      const text = readFileSync(join(root, document), 'utf8')
      for (const [, link = ''] of withoutBlocks(text).matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^(?:https?|mailto):/.test(link)) continue
        const [path = '', anchor] = link.split('#')
        const file = path === '' ? document : join(dirname(document), path)
        expect(existsSync(join(root, file)), link).to.equal(true)
        if (anchor !== undefined) expect(anchorsIn(readFileSync(join(root, file), 'utf8')), link).to.include(anchor)
      }
    })
  }

  it('name every option of initPerms', () => {
    const page = readFileSync(join(root, 'docs/options.md'), 'utf8')
    const [, options = ''] =
      /^export interface PermsOptions \{\n([\s\S]*?)^\}/m.exec(readFileSync(join(root, 'src/setup/options.ts'), 'utf8')) ?? []
    const names = [...options.matchAll(/^ {2}(\w+)\??:(?= |$)/gm)].map(([, name]) => name as string)
    expect(names).to.include.members(['knex', 'jwt', 'models', 'loadUser'])
    for (const name of names) expect(page).to.contain(`\`${name}\``)
  })

  it('name every event', () => {
    const page = readFileSync(join(root, 'docs/sessions.md'), 'utf8')
    const sources = ['auth', 'users'].map((floor) => readFileSync(join(root, `src/${floor}/events.ts`), 'utf8')).join('\n')
    const names = [...sources.matchAll(/^ {2}(\w+): (?:\{|object$)/gm)].map(([, name]) => name as string)
    expect(names).to.include.members(['signIn', 'roleGranted', 'registrationFailed', 'locked'])
    for (const name of names) expect(page).to.contain(`\`${name}\``)
  })

  it('name every error code, with the status and class of the error', () => {
    const page = readFileSync(join(root, 'docs/debugging.md'), 'utf8')
    const rows = [...page.matchAll(/^\| `(\w+)` \| (\d+) \| (.*?) \|/gm)].map(([, code, status, classes = '']) => ({
      code,
      status,
      classes,
    }))
    const source = readFileSync(join(root, 'src/core/errors.ts'), 'utf8')
    const [, union = ''] = /^export type PermsErrorCode =\n((?: {2}\| '\w+'\n)+)/m.exec(source) ?? []
    const codes = [...union.matchAll(/'(\w+)'/g)].map(([, code]) => code)
    expect(codes).to.include.members(['invalid', 'no_context', 'internal'])
    expect(rows.map(({ code }) => code)).to.have.members(codes)
    const made = Object.entries(errors).flatMap(([name, Class]) => {
      if (name === 'PermsError') return []
      const { code, status } =
        name === 'InsufficientAbilityError'
          ? new errors.InsufficientAbilityError([])
          : new (Class as new (text: string) => errors.PermsError)('x')
      return [{ name, code, status }]
    })
    for (const { name, code, status } of made) {
      const row = rows.find((one) => one.code === code)
      expect([row?.status, row?.classes.includes(`\`${name}\``)], name).to.deep.equal([String(status), true])
    }
  })

  it('name every option of resources, methods, parents, hooks and endpoints', () => {
    const page = readFileSync(join(root, 'docs/resources.md'), 'utf8')
    const optionsOf = (file: string, name: string) => {
      const [, body = ''] =
        new RegExp(`^(?:export )?interface ${name}\\b.*\\{\\n([\\s\\S]*?)^\\}`, 'm').exec(readFileSync(join(root, file), 'utf8')) ?? []
      return [...body.matchAll(/^ {2}(\w+)\??: /gm)].map(([, option]) => option as string)
    }
    const names = [
      ...['MethodOptions', 'HookContext', 'CrudHooks', 'CrudResourceOptions'].map((name) =>
        optionsOf('src/http/crud/crud-options.ts', name),
      ),
      optionsOf('src/http/crud/parents.ts', 'Parent'),
      optionsOf('src/http/core/endpoint.ts', 'EndpointOptions').filter((name) => name !== 'refuseFirst'),
      optionsOf('src/http/users/user-options.ts', 'UserResourceOptions'),
    ]
    for (const list of names) expect(list.length).to.be.greaterThan(1)
    // Of the hooks, the page spells out those before a write.
    for (const name of names.flat().filter((one) => !one.startsWith('after'))) expect(page).to.match(new RegExp(`\\b${name}\\b`))
  })

  it('are all reached from the README', () => {
    const readme = readFileSync(join(root, 'README.md'), 'utf8')
    for (const page of markdown('docs')) expect(readme).to.contain(`(docs/${page}`)
  })
})
