import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { lint, matrix } from 'objection-perms'
import { Critter, User, UserDocument } from '../../examples/zoo/models.js'

const models = [UserDocument, Critter, User]
const file = (name: string) => fileURLToPath(new URL(`../../examples/zoo/${name}`, import.meta.url))

describe("The zoo's policies", () => {
  it('are those of the committed matrix [promise 223]', () => {
    const text = matrix(models, { title: 'Permissions of the zoo' }).toMarkdown()
    // UPDATE_DOCS=1 writes the file.
    if (process.env['UPDATE_DOCS']) writeFileSync(file('permissions.md'), text)
    expect(readFileSync(file('permissions.md'), 'utf8')).to.equal(text)
  })

  it('have no findings of lint() [promise 224]', async () => {
    expect(await lint(models)).to.deep.equal([])
  })
})
