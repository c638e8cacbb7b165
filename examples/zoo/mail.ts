import { consoleMailer, type Mailer, nodemailerMailer } from 'objection-perms'
import type { Settings } from './settings.js'

/** Sends what goes by mail; on the console, each line stands apart from what else is printed there. */
export function zooMailer({ mail, mailFrom }: Settings): Mailer {
  if (mail === 'console') return consoleMailer((text) => console.log(`\n${text.trim().replaceAll(/^/gm, '  | ')}\n`))
  if (mail !== 'nowhere') return nodemailerMailer(mail, { from: mailFrom })
  return { send: () => Promise.reject(new Error('MAIL is not set.')) }
}
