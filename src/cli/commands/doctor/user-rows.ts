/** Checks what happens to rows that can be restored when their user is deleted. */
import { fixOf, lossOf, silentLosses } from '../../../users/lifecycle/silent-loss.js'
import { type Check, type Finding, warning } from './finding.js'

/** Reports models that keep deleted rows, but whose foreign keys would destroy them with a user. */
export const checkUserRows: Check = () => silentLosses().map((loss): Finding => warning('user rows', lossOf(loss), fixOf(loss)))
