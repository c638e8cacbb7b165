import { expect } from 'chai'
import { decryptText, encryptText } from '../../src/core/aes-gcm.js'

const key = Buffer.alloc(32, 1)

describe('encryptText and decryptText', () => {
  it('give back the text with the same key and context', () => {
    for (const text of ['', 'a secret', '€ ü']) expect(decryptText(key, encryptText(key, text, 'ada'), 'ada')).to.equal(text)
  })

  it('give null for another key, another context and changed bytes', () => {
    const encrypted = encryptText(key, 'a secret', 'ada')
    const changed = Buffer.from(encrypted.ciphertext)
    changed[0] = (changed[0] as number) ^ 1
    expect(decryptText(Buffer.alloc(32, 2), encrypted, 'ada')).to.equal(null)
    expect(decryptText(key, encrypted, 'bob')).to.equal(null)
    expect(decryptText(key, { ...encrypted, ciphertext: changed }, 'ada')).to.equal(null)
    expect(decryptText(key, { ...encrypted, tag: Buffer.alloc(16) }, 'ada')).to.equal(null)
  })

  it('never encrypt a text to the same bytes twice', () => {
    expect(encryptText(key, 'a secret', 'ada').ciphertext).not.to.deep.equal(encryptText(key, 'a secret', 'ada').ciphertext)
  })
})
