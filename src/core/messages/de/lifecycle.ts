import { lifecycle as english } from '../en/lifecycle.js'
import { translationOf } from '../translation.js'

/** Exports of a user's data and the deletion of accounts. */
export const lifecycle = translationOf(english)({
  'subject.exports': 'Exporte',
  'accountDeletion.hasBegun': 'Die Löschung dieses Kontos hat begonnen: Sie lässt sich nicht mehr zurücknehmen.',
  'accountDeletion.wrongPassword': 'Das Passwort ist falsch: Versuchen Sie es noch einmal.',
  'accountDeletion.restorable':
    'Mit diesem Benutzer würden Zeilen von {model} endgültig gelöscht, obwohl gelöschte Zeilen von {model} wiederherstellbar sind. Legen Sie fest, was mit ihnen geschieht: static onUserDeleted in {model}.',
  'accountDeletion.restorableIndirectly':
    "Mit diesem Benutzer würden Zeilen von {model} endgültig gelöscht, weil sie auf seine Zeilen verweisen, obwohl gelöschte Zeilen von {model} wiederherstellbar sind. Löschen oder verschieben Sie sie zuerst, oder schreiben Sie static onUserDeleted = 'delete' in {model}.",
  'accountDeletion.tooMany':
    'Eine Anweisung darf höchstens {limit} Zeilen von {model} löschen, weil auch deren Zeilen behandelt werden. Schränken Sie where() ein.',
  'accountDeletion.notEach': 'Sie dürfen nicht jede dieser Zeilen von {model} löschen.',
  'field.ownsRestorable': 'hat Zeilen von {model}, die wiederherstellbar sind',
  'user.unknown': 'Es gibt keinen Benutzer mit dieser Id.',
  'user.accountEnded': 'Ihr Konto besteht nicht mehr.',
  'mail.accountDeletionScheduled.subject': 'Ihr Konto wird gelöscht',
  'mail.accountDeletionScheduled.date': 'Ihr Konto und seine Daten werden am {date} gelöscht. Ihre anderen Sitzungen wurden abgemeldet.',
  'mail.accountDeletionScheduled.undo':
    'Wenn Sie es sich anders überlegen, melden Sie sich vor diesem Tag an und nehmen Sie die Löschung zurück.',
  'mail.accountDeletionScheduled.notYou':
    'Wenn Sie das nicht waren, melden Sie sich an, nehmen Sie die Löschung zurück und wählen Sie ein neues Passwort.',
  'mail.accountDeletionUndone.subject': 'Ihr Konto wird nicht gelöscht',
  'mail.accountDeletionUndone.undone': 'Die Löschung Ihres Kontos wurde zurückgenommen. Es wurde nichts gelöscht.',
  'mail.accountDeletionUndone.notYou': 'Wenn Sie das nicht waren, wählen Sie ein neues Passwort.',
  'mail.accountDeleted.subject': 'Ihr Konto wurde gelöscht',
  'mail.accountDeleted.deleted': 'Ihr Konto wurde gelöscht, wie es verlangt worden war. Dies ist die letzte E-Mail dazu.',
})
