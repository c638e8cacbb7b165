/** `hireDate` → `hire_date`, `UserRole` → `user_role`, `HTMLPage` → `html_page`. */
export function snakeCase(name: string): string {
  return name
    .replace(/([A-Z]+)([A-Z][a-z])/g, '$1_$2')
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
}

/** `hire_date` → `hireDate`. */
export function camelCase(name: string): string {
  return name.replace(/_+([a-z0-9])/gi, (_, letter: string) => letter.toUpperCase())
}

/** `closeTicket` → `CloseTicket`. */
export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

/** `UserDocument` → `user-documents`, `Category` → `categories`, `Box` → `boxes`. */
export function kebabPlural(name: string): string {
  const kebab = snakeCase(name).replaceAll('_', '-')
  if (/[^aeiou]y$/.test(kebab)) return `${kebab.slice(0, -1)}ies`
  return /(?:s|x|z|ch|sh)$/.test(kebab) ? `${kebab}es` : `${kebab}s`
}

/** Returns a regular expression that matches a text as a whole word: not inside a longer name, a number or `$1`. */
export function wholeWordPattern(text: string, flags: string): RegExp {
  const literal = text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
  return new RegExp(`(?<![\\p{L}\\p{N}_$])${literal}(?![\\p{L}\\p{N}_])`, flags)
}

/** Sets the name of a class. Bundlers rename classes, and tables and messages are named after them. */
export function setClassName(cls: object, name: string): void {
  Object.defineProperty(cls, 'name', { value: name, configurable: true })
}
