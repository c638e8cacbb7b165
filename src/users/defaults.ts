import type { Model } from 'objection'
import { setDefaultModels } from '../perms/registry.js'
import { Domain } from './domain.js'
import { Token } from './token.js'
import { User } from './user.js'
import { UserRole } from './user-role.js'
import { UserSetting } from './user-setting.js'
import './last-superadmin.js'
import './role-events.js'

setDefaultModels({ user: User, userRole: UserRole, domain: Domain, token: Token, userSetting: UserSetting } as unknown as Record<
  'user' | 'userRole' | 'domain' | 'token' | 'userSetting',
  typeof Model
>)
