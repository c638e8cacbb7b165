import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))

interface Checked {
  readonly status: number | null
  readonly lines: readonly string[]
}

function check(folder: string): Checked {
  const { status, stdout, stderr } = spawnSync(process.execPath, [path('../../scripts/check-imports.mjs'), folder], { encoding: 'utf8' })
  expect(stderr).to.equal('')
  return { status, lines: stdout.trim().split('\n') }
}

describe('scripts/check-imports.mjs', () => {
  it('passes imports that point down, and does not read comments or strings', () => {
    const { status, lines } = check(path('fixtures/good'))
    expect(lines).to.have.length(1)
    expect(status).to.equal(0)
  })

  let found: Checked
  before(() => {
    found = check(path('fixtures/bad'))
  })

  const bad = [
    ['an import that points up', "schema/value.ts:1: '../policy/rule.js' points up"],
    ['a type-only import', "schema/type-only.ts:1: '../http/api.js' points up"],
    ['an import type', "schema/type-expression.ts:1: '../http/api.js' points up"],
    ['a re-export', "policy/re-export.ts:1: '../http/api.js' points up"],
    ['a dynamic import', "policy/dynamic.ts:1: '../users/user.js' points up"],
    ['an import of initPerms from below', "users/root.ts:1: '../init.js' points up"],
    ['a circle of imports', 'core/circle-a.ts: imports itself through core/circle-b.ts'],
    ['a folder that is no layer', "elsewhere/loose.ts:1: '../policy/rule.js' is imported by elsewhere"],
    ['an import from outside of the sources', "adapters/outside.ts:1: '../../outside.js' leaves the sources"],
    [
      'a file of Objection outside of the two files for undocumented parts',
      "users/inside.ts:1: 'objection/lib/utils/objectUtils.js' uses undocumented parts",
    ],
    ['an undocumented member of Objection that is accessed', "record/internals.ts:3: '_operations' is an undocumented part"],
    ['an undocumented member of Knex that is destructured', "record/internals.ts:4: '_statements' is an undocumented part"],
    ['an undocumented member that a type declares', "record/internals.ts:7: '_single' is an undocumented part"],
    ['a quoted name of a member that the two files use', "record/internals.ts:9: '$$queryProps' is an undocumented part"],
    ['import.meta', "core/module-url.ts:2: 'import.meta' does not exist in CommonJS"],
    ['an import of node:http', "http/status.ts:2: 'node:http' loads undici"],
    ['a web framework outside of the adapters', "http/framework.ts:1: 'express' is a web framework"],
  ] as const

  for (const [what, line] of bad) {
    it(`names ${what}`, () => {
      expect(found.lines.filter((l) => l.startsWith(line))).to.have.length(1)
      expect(found.status).to.equal(1)
    })
  }

  it('compares the map in CONTRIBUTING.md with the folders', () => {
    expect(check(path('../../src')).status).to.equal(0)
    const { status, lines } = check(path('fixtures/map/src'))
    expect(lines).to.deep.equal([
      "CONTRIBUTING.md: the map of src/ names 'gone', which is not there",
      "CONTRIBUTING.md: the map of src/ lacks 'core'",
    ])
    expect(status).to.equal(1)
  })

  it('reports no other imports', () => {
    expect(found.lines).to.have.length(bad.length)
  })
})
