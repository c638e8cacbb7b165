import { passkeys as english } from '../en/passkeys.js'
import { translationOf } from '../translation.js'

/** The texts about passkeys, in responses and mails. */
export const passkeys = translationOf(english)({
  'passkey.refused': 'Dieser Passkey wurde nicht angenommen: Beginnen Sie von vorn.',
  'passkey.notAdded': 'Der Passkey konnte nicht hinzugefügt werden: Beginnen Sie von vorn.',
  'passkey.registeredAlready': 'Dieser Passkey ist schon registriert: Verwenden Sie ihn, oder fügen Sie einen anderen hinzu.',
  'passkey.tooMany': 'Sie haben {count} Passkeys, und mehr sind nicht erlaubt: Entfernen Sie zuerst einen.',
  'passkey.invalid': 'muss die JSON-Form eines PublicKeyCredential sein',
  'passkey.nameTooLong': 'darf höchstens {count} Zeichen haben',
  'mail.passkeyAdded.subject': 'Ihrem Konto wurde ein Passkey hinzugefügt',
  'mail.passkeyAdded.added': 'Ihrem Konto wurde ein Passkey hinzugefügt. Wer ihn hat, kann sich ohne Passwort anmelden.',
  'mail.passkeyRemoved.subject': 'Ein Passkey wurde aus Ihrem Konto entfernt',
  'mail.passkeyRemoved.removed': 'Ein Passkey wurde aus Ihrem Konto entfernt.',
  'mail.passkey.notYou':
    'Wenn Sie das nicht waren, melden Sie sich an, prüfen Sie Ihre Passkeys und Sitzungen, und ändern Sie jetzt Ihr Passwort.',
})
