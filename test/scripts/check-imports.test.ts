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
    ['an import that points up', "model/value.ts:1: '../perms/rule.js' points up"],
    ['a type-only import', "model/type-only.ts:1: '../http/api.js' points up"],
    ['an import type', "model/type-expression.ts:1: '../http/api.js' points up"],
    ['a re-export', "perms/re-export.ts:1: '../http/api.js' points up"],
    ['a dynamic import', "perms/dynamic.ts:1: '../users/user.js' points up"],
    ['a floor that imports where the floors meet', "users/root.ts:1: '../init.js' points up"],
    ['the command reaching for http', "cli/serve.ts:1: '../http/api.js' points up"],
    ['a folder that is no floor', "elsewhere/loose.ts:1: '../perms/rule.js' is imported by elsewhere"],
    ['an import from outside of the sources', "adapters/outside.ts:1: '../../outside.js' leaves the sources"],
    ["Objection's inside outside of the one place for it", "users/inside.ts:1: 'objection/lib/utils/objectUtils.js' reaches into"],
    ['a web framework outside of the adapters', "http/framework.ts:1: 'express' is a web framework"],
  ] as const

  for (const [what, line] of bad) {
    it(`names ${what}`, () => {
      expect(found.lines.filter((l) => l.startsWith(line))).to.have.length(1)
      expect(found.status).to.equal(1)
    })
  }

  it('says nothing beyond that', () => {
    expect(found.lines).to.have.length(bad.length)
  })
})
