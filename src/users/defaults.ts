import { registerToActor } from '../enforce/perms-mixin.js'
import { setDefaultModels } from '../policy/registered-models.js'
import { toActor } from './actor.js'
import { Domain } from './domain.js'
import { internalModels } from './internal-models.js'
import { Token } from './token.js'
import { User } from './user.js'
import { UserRole } from './user-role.js'
import { UserSetting } from './user-setting.js'
import './last-superadmin.js'
import './role-events.js'

registerToActor((user) => toActor(user as User))

setDefaultModels({ user: User, userRole: UserRole, domain: Domain, token: Token, userSetting: UserSetting }, internalModels)
