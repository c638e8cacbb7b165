// Writes dist/package.json. Node looks for the nearest package.json of each module, once for each import of it, and parses it: the manifest
// of the package, with its exports and dependencies, makes an import of the package half as slow again.
//
//   node scripts/write-dist-manifest.mjs
import { writeFileSync } from 'node:fs'

writeFileSync(new URL('../dist/package.json', import.meta.url), '{ "type": "module" }\n')
