import owasp from '@stoplight/spectral-owasp-ruleset'

const ruleset = owasp.default ?? owasp

/**
 * The ruleset that OpenAPI documents of this library are checked with: OWASP's, with two of its warnings made to say less.
 *
 *     npx @stoplight/spectral-cli lint openapi.json -r .spectral.mjs
 */
export default {
  extends: [ruleset],
  rules: {
    // Where no credentials are looked at, such as to ask for a mail, nobody is told that theirs are bad: 401 is demanded of the
    // operations that take any.
    'owasp:api8:2023-define-error-responses-401': {
      ...ruleset.rules['owasp:api8:2023-define-error-responses-401'],
      given: '$.paths[*][?(@.security && (@.security.length > 1 || @.security[0].bearer))].responses',
    },
    // Titles, texts and passwords are any text: a pattern would only pretend to restrict them. Lengths are limited.
    'owasp:api4:2023-string-restricted': 'off',
  },
}
