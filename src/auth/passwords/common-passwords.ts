let list: Promise<ReadonlySet<string>> | undefined

/**
 * The most common passwords of 8 characters and more, lower case: some 18,000 of the 49,000 that zxcvbn-ts keeps from
 * public leaks. Read at the first call, since a process that sets no password needs none of it.
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

/** The form in which passwords are compared with the list, and with the e-mail address: nothing to do with hashing. */
export function foldPassword(text: string): string {
  return text.normalize('NFKC').toLowerCase()
}
