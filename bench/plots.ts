/**
 * Writes the tables of docs/performance.md and the charts of docs/plots/ from the figures in bench/results/, which the benches save:
 *
 *     JSON=bench/results npx tsx bench/http.ts
 *     npx tsx bench/plots.ts [FILE]...
 *
 * FILE holds raw figures of the bench that compares this library with others: its `out/latest.json`. They are condensed to bench/results/
 * first. POSTGRES_URL names the server that was measured.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { svgOf } from './plots/chart.js'
import { Results } from './plots/figures.js'
import { readPeers } from './plots/peers.js'
import { sectionsOf } from './plots/sections.js'
import { type Result, writeResult } from './results.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const resultsFolder = join(root, 'bench/results')
const plotsFolder = 'docs/plots'
const page = 'docs/performance.md'

/**
 * Makes the page and its charts from the saved figures.
 *
 * @returns the text of each file, by its path from the root of the repository
 * @throws Error if the page lacks the marker of a part, or has one that no part fills
 */
export function generatedFiles(): Map<string, string> {
  const saved = readdirSync(resultsFolder).filter((name) => name.endsWith('.json'))
  const sections = sectionsOf(new Results(saved.map((name) => JSON.parse(readFileSync(join(resultsFolder, name), 'utf8')) as Result)))
  const files = new Map<string, string>()
  const filled = new Set<string>()
  const text = readFileSync(join(root, page), 'utf8').replace(
    /^(<!-- generated: ([\w-]+) -->\n)[\s\S]*?^(<!-- end of generated -->)$/gm,
    (_all, start: string, name: string, end: string) => {
      const section = sections[name]
      if (!section) throw new Error(`${page}: there is no part '${name}'. Name one of ${Object.keys(sections).join(', ')}.`)
      filled.add(name)
      return `${start}\n${section.text}\n\n${end}`
    },
  )
  for (const [name, { chart }] of Object.entries(sections)) {
    if (!filled.has(name))
      throw new Error(`${page} lacks the part '${name}'. Add <!-- generated: ${name} --> and <!-- end of generated -->.`)
    if (chart) files.set(`${plotsFolder}/${name}.svg`, svgOf(chart))
  }
  return files.set(page, text)
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const file of process.argv.slice(2)) {
    if (!process.env.POSTGRES_URL) throw new Error('Set POSTGRES_URL to the server that was measured: the page names its version.')
    writeResult(await readPeers(file, process.env.POSTGRES_URL), resultsFolder)
  }
  rmSync(join(root, plotsFolder), { recursive: true, force: true })
  mkdirSync(join(root, plotsFolder))
  const files = generatedFiles()
  for (const [file, text] of files) writeFileSync(join(root, file), text)
  console.log([...files.keys()].join('\n'))
}
