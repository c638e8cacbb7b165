import { registerToActor } from '../enforce/perms-mixin.js'
import { setDefaultModels } from '../policy/registered-models.js'
import { toActor } from './caller/actor.js'
import { Domain } from './domain.js'
import { internalModels } from './tables/internal-models.js'
import { Token } from './token.js'
import { User } from './user.js'
import { UserRole } from './user-role.js'
import { UserSetting } from './user-setting.js'
import './account/inactive-devices.js'
import './lifecycle/deletion-check.js'
import './audit/audited-rows.js'
import './lifecycle/freed-identifiers.js'
import './roles/last-superadmin.js'
import './roles/role-events.js'
import './shares/share-rows.js'

registerToActor((user) => toActor(user as User))

setDefaultModels({ user: User, userRole: UserRole, domain: Domain, token: Token, userSetting: UserSetting }, internalModels)
