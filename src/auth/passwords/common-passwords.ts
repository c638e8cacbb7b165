let list: Promise<ReadonlySet<string>> | undefined

/**
 * Returns the most common passwords with 8 characters or more, in lower case: about 18,000 of the 49,000 that zxcvbn-ts collects
 * from public leaks. Loads them at the first call: many processes never set a password.
 */
export function commonPasswords(): Promise<ReadonlySet<string>> {
  list ??= load().catch((error: unknown) => {
    list = undefined
    throw error
  })
  return list
}

async function load(): Promise<ReadonlySet<string>> {
  const { dictionary } = await import('@zxcvbn-ts/language-common')
  return new Set(dictionary['passwords-common'].filter((entry) => entry.length >= 8).map(foldPassword))
}

/** Returns the form in which passwords are compared with the list and with the e-mail address. It is not the form that is hashed. */
export function foldPassword(text: string): string {
  return text.normalize('NFKC').toLowerCase()
}
