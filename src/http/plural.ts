import { snakeCase } from '../model/names.js'

/** `UserDocument` → `user-documents`, `Category` → `categories`, `Box` → `boxes`. */
export function kebabPlural(name: string): string {
  const kebab = snakeCase(name).replaceAll('_', '-')
  if (/[^aeiou]y$/.test(kebab)) return `${kebab.slice(0, -1)}ies`
  return /(?:s|x|z|ch|sh)$/.test(kebab) ? `${kebab}es` : `${kebab}s`
}
