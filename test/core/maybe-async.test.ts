import { expect } from 'chai'
import { awaitMaybe, type MaybeAsyncSteps, runMaybeAsync } from '../../src/core/maybe-async.js'
import { rejection } from '../helpers/errors.js'

function* sum(...values: (number | Promise<number>)[]): MaybeAsyncSteps<number> {
  let total = 0
  for (const value of values) total += yield* awaitMaybe(value)
  return total
}

function* caught(value: Promise<number>): MaybeAsyncSteps<string> {
  try {
    return String(yield* awaitMaybe(value))
  } catch (error) {
    return `caught ${(error as Error).message}`
  }
}

describe('runMaybeAsync', () => {
  it('returns a plain value when no step yields a promise', () => {
    expect(runMaybeAsync(sum(1, 2, 3))).to.equal(6)
  })

  it('waits for each yielded promise in order', async () => {
    expect(await runMaybeAsync(sum(1, Promise.resolve(2), 3, Promise.resolve(4)))).to.equal(10)
  })

  it('throws the error of a rejected promise inside the generator', async () => {
    expect(await runMaybeAsync(caught(Promise.reject(new Error('late'))))).to.equal('caught late')
    expect(await rejection(runMaybeAsync(sum(Promise.reject(new Error('late')))) as Promise<number>)).to.have.property('message', 'late')
  })

  it('throws synchronously before the first promise', () => {
    function* fails(isEarly: boolean): MaybeAsyncSteps<number> {
      if (isEarly) throw new Error('early')
      return yield* awaitMaybe(1)
    }
    expect(() => runMaybeAsync(fails(true))).to.throw('early')
  })
})
