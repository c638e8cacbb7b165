/**
 * The ruleset that OpenAPI documents of this library are checked with: OWASP's, but for what a library cannot say truly.
 *
 *     npx @stoplight/spectral-cli lint openapi.json -r .spectral.mjs
 */
import owasp from '@stoplight/spectral-owasp-ruleset'

export default {
  extends: [owasp.default ?? owasp],
  rules: {
    // Failed attempts are limited, not requests: 429 says Retry-After, and there is no rate to tell in other answers. A limit
    // of requests is the application's proxy's, which adds its own headers.
    'owasp:api4:2023-rate-limit': 'off',
    // The library sends no Access-Control-Allow-Origin: which origins may call is for the application's CORS middleware.
    'owasp:api8:2023-define-cors-origin': 'off',
    // One cannot be signed in to sign in, to refresh or to register; a test asserts that nothing else is open to writes.
    'owasp:api2:2023-write-restricted': 'off',
    // Where no credentials are looked at, such as to ask for a mail, nobody is told that theirs are bad: 401 is demanded of the
    // other operations.
    'owasp:api8:2023-define-error-responses-401': {
      ...(owasp.default ?? owasp).rules['owasp:api8:2023-define-error-responses-401'],
      given: '$.paths[*][?(@.security && @.security.length > 0)].responses',
    },
    // Titles, texts and passwords are any text: a pattern would only pretend to restrict them. Lengths are limited.
    'owasp:api4:2023-string-restricted': 'off',
  },
}
