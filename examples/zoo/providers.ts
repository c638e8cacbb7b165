import { github, google, type IdentityProvider, type PermsOptions } from 'objection-perms'

/**
 * Returns the options for sign-in with GitHub and Google, if the environment has the keys of their consoles.
 *
 * @param baseUrl the public URL of the server
 */
export function zooProviders(env: NodeJS.ProcessEnv, baseUrl: string): Pick<PermsOptions, 'providers' | 'providerSignIn'> {
  const providers: Record<string, IdentityProvider> = {}
  const keysOf = (name: string) => ({ clientId: env[`${name}_CLIENT_ID`] ?? '', clientSecret: env[`${name}_CLIENT_SECRET`] ?? '' })
  if (env['GITHUB_CLIENT_ID']) providers.github = github(keysOf('GITHUB'))
  if (env['GOOGLE_CLIENT_ID']) providers.google = google(keysOf('GOOGLE'))
  if (Object.keys(providers).length === 0) return {}
  return { providers, providerSignIn: { usersUrl: `${baseUrl}/api/users`, redirects: ['/'], signUp: 'open' } }
}
