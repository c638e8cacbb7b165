import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { expect } from 'chai'
import { languages } from '../../../src/cli/init/choices.js'
import { runNode } from '../../run-node.js'
import { createFolder, generate, root } from './generated.js'

describe('An application that init writes into a CommonJS project', function () {
  this.timeout(120_000)

  // TypeScript is where a second copy could be loaded. FULL=1 runs JavaScript too.
  for (const language of process.env['FULL'] === '1' ? languages : (['ts'] as const)) {
    it(`passes its test, and its models are those of the command line, in ${language}`, async () => {
      const folder = createFolder({ 'package.json': '{ "name": "old", "type": "commonjs" }', 'index.js': 'module.exports = 1' })
      try {
        await generate(folder, { framework: 'express', language, database: 'sqlite' })
        const env = { JWT_SECRET: randomBytes(32).toString('base64url'), DATABASE_URL: 'app.db' }
        const run = async (args: string[]) => {
          const { output, failure } = await runNode(args, { cwd: folder.path, timeout: 60_000, env })
          expect(failure, `${args.join(' ')}\n${output}`).to.equal(undefined)
          return output
        }
        const command = (line: string) => run([join(root, 'dist/cli/main.js'), ...line.split(' ')])
        const test = language === 'ts' ? ['--import', 'tsx', '--test', 'test/api.test.ts'] : ['--test', 'test/api.test.mjs']
        expect(await run(test)).to.match(/^[#ℹ] pass 5$/m)
        expect(await command('migrate up')).to.match(/\d{14}_first_tables\.(?:ts|mjs)/)
        expect(await command('migrate check')).to.contain('The migrations make the tables that the models declare.')
        expect(await command('create-superuser --email admin@example.com')).to.contain('Created the superadmin admin@example.com.')
        expect(JSON.parse(await command('openapi')).paths).to.have.property('/api/notes')
      } finally {
        folder.remove()
      }
    })
  }
})
