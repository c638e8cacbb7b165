import { Api, AuditLog, asSystem, CrudResource, Domain, type Perms, recent, UserResource } from 'objection-perms'
import { Critter, UserDocument } from './models.js'

/** The REST API: it knows no framework. */
export function zooApi(perms: Perms): Api {
  const critters = new CrudResource({
    model: Critter,
    methods: { list: { public: true }, get: { public: true }, delete: { adminOnly: true } },
  })
  // POST critters/:id/adopt. The policy lets nobody else change an animal, so the action does it as the system.
  critters.action('adopt', {
    summary: 'Adopt an animal',
    handler: async ({ row, actor }) => actor && (await asSystem(() => row.update({ isAdoptable: false, userId: actor.id }))),
  })
  return new Api({
    title: 'Zoo',
    version: '1.0.0',
    prefix: '/api',
    resources: [
      new UserResource({
        methods: { delete: { adminOnly: true } },
        features: {
          apiKeys: true,
          verifyEmail: true,
          resetPassword: true,
          changeEmail: true,
          magicLink: true,
          codes: true,
          totp: true,
          trustedDevices: true,
          passkeys: true,
          invitations: true,
          impersonation: true,
          confirm: true,
          export: true,
          deleteAccount: true,
          // On if the environment has the keys of a provider.
          providers: perms.auth.providers.isReady,
        },
      }),
      new CrudResource({ model: UserDocument, path: 'documents' }),
      critters,
      // Made by admins, seen by their members. Deleting one takes a session that the admin confirmed a short time ago.
      new CrudResource({ model: Domain, methods: { delete: { stepUp: recent(300) } } }),
      // Seen by admins, and by a domain's admins where it is about the domain.
      new CrudResource({ model: AuditLog, path: 'audit', methods: ['list', 'get'] }),
    ],
  })
}
