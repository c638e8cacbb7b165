import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { runNode } from '../run-node.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

describe('The example adapter for Hapi', function () {
  this.timeout(180_000)

  it('has fewer than 150 lines', () => {
    expect(readFileSync(`${root}/examples/hapi/adapter.ts`, 'utf8').split('\n')).to.have.length.below(150)
  })

  // test/conformance runs the suite on the six adapters of the package, and test/testing/conformance.test.ts on planted faults.
  const onlyFull = process.env['FULL'] === '1' ? it : it.skip
  onlyFull('passes the published conformance suite', async () => {
    // In a process of its own, because it imports the built package.
    const args = ['--import', 'tsx', '--test-reporter=tap', 'examples/hapi/conformance.ts']
    const { output, failure } = await runNode(args, { cwd: root, timeout: 170_000 })
    expect(failure, output.slice(-4000)).to.equal(undefined)
    expect(Number(/^[#ℹ] pass (\d+)$/m.exec(output)?.[1])).to.be.greaterThan(270)
    expect(output).to.match(/^# fail 0$/m)
  })
})
