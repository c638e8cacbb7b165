import { createParamDecorator } from '@nestjs/common'
import { currentUser } from 'objection-perms'

/** The signed-in user, or null: `me(@Caller() user: User | null)`. */
export const Caller = createParamDecorator(() => currentUser())
