import type { FetchJson, ProviderClaims } from './provider.js'

const API = 'https://api.github.com'

/** Reads a user of GitHub, with the verified primary address if there is one. @throws Error for an answer of another form */
export async function gitHubClaims(fetchJson: FetchJson): Promise<ProviderClaims> {
  const { id, login, name } = (await fetchJson(`${API}/user`)) as Record<string, unknown>
  // The login may be renamed, and taken by another person: only the number identifies an account.
  if (typeof id !== 'number' || !Number.isSafeInteger(id) || id <= 0) throw new Error('The user of GitHub has no id.')
  const emails: unknown = await fetchJson(`${API}/user/emails`)
  const primary = Array.isArray(emails) ? emails.find(isVerifiedPrimary) : undefined
  return {
    sub: String(id),
    preferred_username: login,
    name: typeof name === 'string' ? name : login,
    ...(primary && { email: primary.email, email_verified: true }),
  }
}

function isVerifiedPrimary(one: unknown): one is { email: string } {
  const { email, primary, verified } = (typeof one === 'object' && one !== null ? one : {}) as Record<string, unknown>
  return typeof email === 'string' && primary === true && verified === true && !/@users\.noreply\.github\.com$/i.test(email)
}
