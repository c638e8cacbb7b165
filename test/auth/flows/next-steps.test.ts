import { expect } from 'chai'
import { lifecycle as german } from '../../../src/core/messages/de/lifecycle.js'
import { passkeys as germanPasskeys } from '../../../src/core/messages/de/passkeys.js'
import { problems as germanProblems } from '../../../src/core/messages/de/problems.js'
import { lifecycle } from '../../../src/core/messages/en/lifecycle.js'
import { passkeys } from '../../../src/core/messages/en/passkeys.js'
import { problems } from '../../../src/core/messages/en/problems.js'

const languages: Record<string, Readonly<Record<string, unknown>>> = {
  en: { ...problems, ...passkeys, ...lifecycle },
  de: { ...germanProblems, ...germanPasskeys, ...german },
}

describe('A problem of passkeys, providers, codes and account deletion', () => {
  for (const [language, texts] of Object.entries(languages))
    it(`says after a colon what to do next, if the user can do something (${language})`, () => {
      const ids = ['session.wrongConfirmation', 'factor.wrongCode', 'factor.none', 'code.wrong', 'code.accountChanged']
      ids.push('provider.unknown', 'provider.invalid', 'provider.down', 'provider.identityTaken', 'signIn.onlyMethod')
      ids.push('passkey.refused', 'passkey.notAdded', 'passkey.registeredAlready', 'passkey.tooMany', 'accountDeletion.wrongPassword')
      for (const id of ids) expect(String(texts[id]), id).to.match(/: \S.{6,}\.$/)
    })
})
