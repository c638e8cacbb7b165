import { expect } from 'chai'
import { checkPasswordPolicy, minPasswordLength, type PasswordPolicy } from '../../../src/auth/passwords/password-policy.js'
import { ConfigurationError, ValidationError } from '../../../src/core/errors.js'

type Policy = PasswordPolicy & { identifiers?: Record<string, string> }

/** The message of the refusal, or 'accepted'. */
async function answer(password: string, policy?: Policy): Promise<string> {
  try {
    await checkPasswordPolicy(password, policy)
    return 'accepted'
  } catch (error) {
    if (!(error instanceof ValidationError)) throw error
    expect(error.errors.map(({ field }) => field)).to.deep.equal(['password'])
    return error.message
  }
}

const COMMON = 'The password is one of the most common ones: choose another.'
const OWN_ADDRESS = 'The password is your e-mail address: choose another.'

describe('checkPasswordPolicy', () => {
  it('requires 8 characters, counted as code points [promise 2]', async () => {
    expect(await answer('k7#mQ2x')).to.equal('The password is too short: use at least 8 characters.')
    expect(await answer('k7#mQ2xv')).to.equal('accepted')
    expect(await answer('🔑🐘🌵🧊')).to.contain('too short')
    expect(await answer('🔑🐘🌵🧊🎷🦑🥾🪐')).to.equal('accepted')
  })

  it('counts a character that NFKC expands once [promise 2]', async () => {
    expect(await answer('ﷺ')).to.contain('too short')
    expect(await answer('e\u0301'.repeat(7))).to.contain('too short')
  })

  it('accepts a higher minimum and refuses a lower one [promise 2]', async () => {
    expect(await answer('twelve chars', { minLength: 13 })).to.equal('The password is too short: use at least 13 characters.')
    expect(await answer('twelve chars', { minLength: 12 })).to.equal('accepted')
    for (const minLength of [7, 0, -1, 8.5, Number.NaN, 5000]) {
      expect(() => minPasswordLength({ minLength }), String(minLength)).to.throw(ConfigurationError)
      await checkPasswordPolicy('long enough for all', { minLength }).then(
        () => expect.fail('it was taken'),
        (error: unknown) => expect(error).to.be.instanceOf(ConfigurationError),
      )
    }
  })

  it('has no rules about kinds of characters [promise 2]', async () => {
    for (const password of ['gwkdnvpalq', '83920174655', '        - -', 'Ω'.repeat(9)])
      expect(await answer(password), password).to.equal('accepted')
  })

  it('accepts 64 characters and more, with spaces and any Unicode [promise 1]', async () => {
    for (const password of ['x y'.repeat(100), 'пароль без правил', '密码'.repeat(32), ' leading and trailing ', 'tab\tand\0nul']) {
      expect(await answer(password), password.slice(0, 20)).to.equal('accepted')
    }
  })

  it('refuses more than 4096 bytes, counted in the form that is hashed [promise 4]', async () => {
    expect(await answer('xy'.repeat(2048))).to.equal('accepted')
    for (const password of ['xy'.repeat(2049), 'é'.repeat(2049), 'ﷺ'.repeat(200), 'x'.repeat(1_000_000)]) {
      expect(await answer(password)).to.equal('The password is too long: use at most 4096 bytes.')
    }
    expect(await answer('ｘｙ'.repeat(2048)), '12288 bytes as typed, 4096 as hashed').to.equal('accepted')
  })

  it('refuses the most common passwords, whatever their case or width [promise 8]', async () => {
    for (const password of ['password', 'Password1', '12345678', 'QWERTYUIOP', 'ｐａｓｓｗｏｒｄ', 'iloveyou', 'trustno1']) {
      expect(await answer(password), password).to.equal(COMMON)
    }
    expect(await answer('password of mine')).to.equal('accepted')
  })

  it('knows at least the 3000 most common passwords that are long enough [promise 8]', async () => {
    const { commonPasswords } = await import('../../../src/auth/passwords/common-passwords.js')
    expect((await commonPasswords()).size).to.be.greaterThan(3000)
  })

  it("refuses one's own e-mail address and the part before the @, in any case [promise 8]", async () => {
    const identifiers = { email: 'Ada.Lovelace@Example.com' }
    for (const password of ['ada.lovelace@example.com', 'ADA.LOVELACE@EXAMPLE.COM', 'ada.lovelace', 'Ada.Lovelace', 'ａｄａ.lovelace']) {
      expect(await answer(password, { identifiers }), password).to.equal(OWN_ADDRESS)
    }
    expect(await answer('ada.lovelace@example.org', { identifiers })).to.equal('accepted')
    expect(await answer('ada.lovelace', { identifiers: { email: 'grace@example.com' } })).to.equal('accepted')
  })

  it('asks the breach check last, with the form that is hashed [promise 8]', async () => {
    const asked: string[] = []
    const breached = async (password: string) => asked.push(password) > 1
    expect(await answer('password', { breached })).to.equal(COMMON)
    expect(await answer('ﬁsh and chips', { breached })).to.equal('accepted')
    expect(await answer('another one', { breached })).to.equal('The password is known from a data breach: choose another.')
    expect(asked).to.deep.equal(['fish and chips', 'another one'])
    expect(await answer('yet another one', { breached: () => true })).to.contain('data breach')
  })

  it('passes the error of a breach check on to the application', async () => {
    const breached = () => Promise.reject(new Error('service down'))
    const error: unknown = await checkPasswordPolicy('correct horse battery', { breached }).catch((reason: unknown) => reason)
    expect(error).to.be.instanceOf(Error).with.property('message', 'service down')
  })

  it('refuses lone surrogates and values that are not text', async () => {
    expect(await answer('abcdefgh\ud800')).to.contain('half a character')
    expect(await answer(12345678 as unknown as string)).to.equal('The password must be text.')
  })
})
