import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { generatedFiles } from '../../bench/plots.js'

const path = (file: string) => fileURLToPath(new URL(`../../${file}`, import.meta.url))

describe('docs/performance.md', () => {
  const files = generatedFiles()

  for (const [file, text] of files) {
    it(`${file} is what npx tsx bench/plots.ts makes of bench/results/`, () => {
      expect(existsSync(path(file)), file).to.equal(true)
      expect(readFileSync(path(file), 'utf8')).to.equal(text)
    })
  }

  it('has no plots that it does not show', () => {
    const page = readFileSync(path('docs/performance.md'), 'utf8')
    const plots = readdirSync(path('docs/plots'))
    expect(plots).to.have.length.above(0)
    for (const name of plots) expect(page).to.contain(`](plots/${name})`)
  })

  it('saves no name of a machine or folder with the figures', () => {
    for (const name of readdirSync(path('bench/results'))) {
      const result = JSON.parse(readFileSync(path(`bench/results/${name}`), 'utf8')) as object
      expect(Object.keys(result), name).to.have.members(['bench', 'node', 'databases', 'cores', 'date', 'figures'])
    }
  })
})
