#!/usr/bin/env node
/** The entry of `npx objection-perms`. If the project has another copy of this package, that copy runs. */
import { argv, cwd } from 'node:process'
import { pathToFileURL } from 'node:url'
import { mainOfProject } from './project-copy.js'

const given = argv.slice(2)
const other = mainOfProject(given, cwd())
if (other === undefined) {
  const { runCommandLine } = await import('./run.js')
  await runCommandLine(given)
} else {
  await import(pathToFileURL(other).href)
}
