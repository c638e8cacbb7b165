import { expect } from 'chai'
import { LruMap } from '../../src/core/lru-map.js'

describe('LruMap', () => {
  it('drops the entry that was used least recently, and returns its key', () => {
    const map = new LruMap<string, number>(2)
    expect(map.set('a', 1)).to.equal(undefined)
    expect(map.set('b', 2)).to.equal(undefined)
    expect(map.get('a')).to.equal(1)
    expect(map.set('c', 3)).to.equal('b')
    expect([map.get('a'), map.get('b'), map.get('c'), map.size]).to.deep.equal([1, undefined, 3, 2])
  })

  it('replaces a value without dropping another entry', () => {
    const map = new LruMap<string, number>(2)
    map.set('a', 1)
    map.set('b', 2)
    expect(map.set('a', 3)).to.equal(undefined)
    expect([map.get('a'), map.get('b')]).to.deep.equal([3, 2])
  })

  it('forgets a deleted entry', () => {
    const map = new LruMap<string, number>(2)
    map.set('a', 1)
    map.delete('a')
    expect([map.get('a'), map.size]).to.deep.equal([undefined, 0])
  })
})
