/** The texts about passkeys, in responses and mails. */
export const passkeys = {
  'passkey.refused': 'This passkey was not accepted: begin again.',
  'passkey.notAdded': 'The passkey could not be added: begin again.',
  'passkey.registeredAlready': 'This passkey is registered already: use it, or add another one.',
  'passkey.tooMany': 'You have {count} passkeys, and more are not allowed: remove one first.',
  'passkey.invalid': 'must be the JSON form of a PublicKeyCredential',
  'passkey.nameTooLong': 'may have {count} characters at most',
  'mail.passkeyAdded.subject': 'A passkey was added to your account',
  'mail.passkeyAdded.added': 'A passkey was added to your account. Whoever has it can sign in without a password.',
  'mail.passkeyRemoved.subject': 'A passkey was removed from your account',
  'mail.passkeyRemoved.removed': 'A passkey was removed from your account.',
  'mail.passkey.notYou': 'If it was not you, sign in, look at your passkeys and sessions, and change your password now.',
} as const
