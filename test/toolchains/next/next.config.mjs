export default {
  // Node loads these packages once, for all routes and pages. Next would otherwise copy them into several bundles.
  serverExternalPackages: ['objection-perms', 'objection', 'knex'],
  // The paths of the library end with a slash, such as /users/login/.
  skipTrailingSlashRedirect: true,
}
