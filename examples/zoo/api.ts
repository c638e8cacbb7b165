import { Api, CrudResource, UserResource } from 'objection-perms'
import { Critter, UserDocument } from './models.js'

/** The REST API: it knows no framework. */
export function zooApi(): Api {
  return new Api({
    title: 'Zoo',
    version: '1.0.0',
    prefix: '/api',
    resources: [
      new UserResource({ methods: { update: { adminOnly: true }, delete: { adminOnly: true } } }),
      new CrudResource({ model: UserDocument, path: 'documents' }),
      new CrudResource({
        model: Critter,
        methods: { list: { public: true }, get: { public: true }, delete: { adminOnly: true } },
      }),
    ],
  })
}
