import { CrudResource } from '../../../src/http/crud/crud-resource.js'
import { Api } from '../../../src/http/serve/api.js'
import { UserResource } from '../../../src/http/users/user-resource.js'
import { User } from '../../../src/users/user.js'
import { allFeatures } from '../../conformance/full-zoo.js'
import { Critter, UserDocument } from '../../conformance/zoo.js'

/** An API with something of everything that the OpenAPI document speaks of. */
export function documentedApi(): Api {
  return new Api({
    title: 'Zoo',
    version: '1.0.0',
    description: 'Animals, documents, and who may see them.',
    prefix: '/api',
    document: { info: { title: 'Zoo', version: '1.0.0', license: { name: 'MIT', url: 'https://opensource.org/license/mit' } } },
    resources: [
      new UserResource({ name: 'User', features: allFeatures }),
      new CrudResource({ model: UserDocument, path: 'documents', include: ['user'] }),
      new CrudResource({ model: UserDocument, path: 'documents', name: 'OwnDocument', parent: { model: User as never, param: 'userId' } }),
      new CrudResource({ model: Critter, methods: { delete: { adminOnly: true }, list: { public: true }, get: { public: true } } }),
    ],
  })
}
