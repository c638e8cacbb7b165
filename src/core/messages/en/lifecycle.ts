/** Exports of a user's data and the deletion of accounts. */
export const lifecycle = {
  'subject.exports': 'Exports',
  'accountDeletion.hasBegun': 'The deletion of this account has begun: it cannot be undone.',
  'accountDeletion.wrongPassword': 'The password is wrong: try again.',
  'accountDeletion.restorable':
    'Deleting this user would destroy rows of {model} for good, although deleted rows of {model} can be restored. Say what happens to them: static onUserDeleted on {model}.',
  'accountDeletion.restorableIndirectly':
    "Deleting this user would destroy rows of {model} for good, because they refer to rows of the user, although deleted rows of {model} can be restored. Delete or move them first, or say static onUserDeleted = 'delete' on {model}.",
  'accountDeletion.tooMany':
    'One statement may delete at most {limit} rows of {model}, because their rows are handled too. Narrow the where().',
  'accountDeletion.notEach': 'You may not delete each of these rows of {model}.',
  'field.ownsRestorable': 'has rows of {model} that can be restored',
  'user.unknown': 'There is no user with this id.',
  'user.accountEnded': 'Your account has ended.',
  'mail.accountDeletionScheduled.subject': 'Your account will be deleted',
  'mail.accountDeletionScheduled.date': 'Your account and its data will be deleted on {date}. Your other sessions were signed out.',
  'mail.accountDeletionScheduled.undo': 'If you change your mind, sign in before that date and undo the deletion.',
  'mail.accountDeletionScheduled.notYou': 'If it was not you, sign in, undo the deletion and choose a new password.',
  'mail.accountDeletionUndone.subject': 'Your account will not be deleted',
  'mail.accountDeletionUndone.undone': 'The deletion of your account was undone. Nothing was deleted.',
  'mail.accountDeletionUndone.notYou': 'If it was not you, choose a new password.',
  'mail.accountDeleted.subject': 'Your account was deleted',
  'mail.accountDeleted.deleted': 'Your account was deleted, as it was asked for. This is the last mail about it.',
} as const
