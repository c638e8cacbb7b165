/**
 * Writes test/security/README.md: which tests hold which promise of the security contract, by the tag in their titles
 * (`[promise 12]`, `[promises 21, 59]`).
 *
 *     node scripts/map-promises.mjs           writes it
 *     node scripts/map-promises.mjs --check   fails where it is not up to date, or a promise has no test and no reason
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const target = join(root, 'test/security/README.md')

const promises = [
  'long passwords, Unicode, NFKC',
  'minimum length, no composition rules',
  'verified exactly, no truncation at 72 bytes, NUL',
  'an upper size, same work at login',
  'bcrypt cost, rehash, compare-and-set',
  'an unreadable hash is no match',
  'own password or address needs the old password',
  'common passwords and the own address refused',
  'hashing off the event loop',
  'equal work and answer for all failures',
  'one canonical e-mail form, unique in the database',
  'failed sign-ins are limited',
  'no-store on tokens',
  'the list of algorithms is ours',
  'short or missing secrets refuse to start',
  'exp, nbf, iss, aud, leeway',
  'every kind of token at every door',
  'Wycheproof',
  'a bad Bearer is 401 on every route',
  'opaque tokens: 128 bits, hashed',
  'refresh rotation, reuse, families',
  'sign-out and changed passwords end sessions',
  'a revoked or expired token is dead at every door',
  'key rotation',
  'API keys',
  'a token names its user model',
  'blank, null, object where a token is expected',
  'a model without a policy is closed',
  'an exception inside a policy denies',
  'SQL form and in-memory form agree',
  'lists, totals, pages and aggregates carry the filter',
  'eager loading, joins and graphs obey',
  'bulk writes touch permitted rows only',
  'a result that may not be written is undone',
  'check and write are one',
  'unreadable is missing',
  'a null owner is nobody',
  'domains do not leak into each other',
  'ranks; the last superadmin stays',
  'a bypass covers the code inside it',
  'no silent superpower outside a request',
  'only writable columns are set',
  'hidden columns appear nowhere',
  'unknown query keys are refused',
  'filter values are scalars',
  'sizes are capped; cursors are sealed',
  'nothing makes a 5xx',
  'errors name fields and nothing else',
  'path variants open no door',
  'every route for every caller',
  'the database gone: 503',
  'nothing is left half done',
  'deadlocks are tried again, bounded',
  'a full pool answers in bounded time',
  'deleting a user takes all along',
  'a disabled user is anonymous to every rule',
  'strings compare byte for byte on MariaDB',
  'lifetimes of runAs and bypass',
  'what is counted cannot be rolled back',
  'statement names survive a changed table',
  'an unknown state is a refusal',
  'lengths are checked first; work is linear',
  "clients' patterns see permitted rows only",
  'every body that changes a user passes the same checks',
  'a column that is not shown cannot be guessed',
  'the first proof of an address ends what came before it',
  'one address is one mailbox',
  "changing another user's credentials takes a higher rank",
  'no bound value of a hidden column in errors, logs or events',
  'authentication is skipped on exact routes only; domain names belong to global admins',
  'raw SQL, options and plain classes do not lead around the policies',
  'an error in one model or call affects no other',
  'a second copy or an ended runtime fails closed',
  'several runtimes never share rows, tokens, caches or keys',
  'an id has one spelling, and a name never stands for an id',
  'creating a row is checked in the statement that inserts it, whoever makes the id',
  'the library never drops or alters a table that it did not create',
  'columns that nobody declared are not shown, filtered or written over HTTP',
  'sign-in costs the same whatever hash is stored; parameters of imported hashes are bounded',
  'old tokens of an adopted application obey sign-out, disabling and a fixed end',
  'flags, reasons and counterfactuals tell nothing about what the asker may not read',
  'no answer leaves for a remembered caller until session, user and grants are proven',
  'no client can exhaust statement names or plan caches',
  "an export of one's data holds no hash and no secret",
  // Step-up: RFC 9470, RFC 8176, ASVS 5.0 (6.3, 7.1.1, 7.5.1, 7.5.3).
  'a session records when and how its user proved to be present; a refresh renews neither',
  'an unknown time or method is never recent: older sessions, API keys, impersonations, legacy tokens, runAs()',
  'recent() and factor() decide the same in SQL and in memory, also negated; an unmet rule hides rows from reads',
  'the bypass of admins does not cover recent() and factor()',
  'a request for a fresh session (401) is answered only where the row is readable and a fresh session would suffice',
  'confirming a session counts wrong passwords and codes like failed sign-ins, with one answer; a code works once',
  'only an active session is confirmed, and only the one that asked; an ended session never becomes recent',
  'with stepUp, changes of credentials, factors, keys, sessions and accounts need a recent session',
  'the lifetime that a client chooses for its session stays within the bounds of the application; a refresh does not extend it',
]

/** Promises of later features, whose numbers have gaps: a range for each feature. */
const featurePromises = {
  // Passkeys: WebAuthn level 3 (5.1.3, 5.8.1, 6.1, 6.1.1, 7.1, 7.2, 13.4, 14.6), RFC 8176, ASVS 5.0 (6.3.3, 6.3.4, 6.5.7, 7.5.1).
  101: 'origins and RP id come from the configuration, which is checked at start, never from a request (5.1.3, 13.4.9)',
  102: 'a challenge works once, for five minutes, in its ceremony and session, and is stored as a hash (13.4.3)',
  103: 'a response from an origin that is not in the list is refused (7.1 step 9, 7.2 step 13)',
  104: 'a response signed for another RP id is refused (7.1 step 14, 7.2 step 16)',
  105: 'a response of another type is refused (7.1 step 7, 7.2 step 11)',
  106: 'a response without user presence or user verification is refused (7.1 steps 15 and 16, 7.2 steps 17 and 18)',
  107: 'a response made in a frame of another origin is refused (7.1 steps 10 and 11, 7.2 steps 14 and 15)',
  108: 'backup flags do not contradict each other or change; a counter that goes back is refused and reported unless the passkey is backed up (6.1.1)',
  109: 'malformed and truncated data is refused, and never makes a 5xx (7.1 step 13)',
  110: 'attestations with certificates or of other formats are refused: no certificate is read and no address fetched (7.1 step 21)',
  111: 'keys are of an offered algorithm, of its type, and of a bounded size (7.1 step 20)',
  112: 'a credential id is the signed one, and belongs to one user (7.1 steps 25 and 26)',
  113: 'only the signature of the passkey and the handle of its user sign in; a passkey of another user proves nothing (7.2 steps 5 to 7 and 21)',
  114: 'the length of each part of a response is checked before any other work',
  115: 'a sign-in with a passkey asks for no second factor and records two; disabled users are refused (RFC 8176)',
  116: 'a user with a passkey needs a second factor after a password or mail, and the challenge names the factors (ASVS 6.3.4)',
  117: 'adding and removing a passkey needs a session that was just proved, with a second factor if the user has one; no API key, no impersonation',
  118: 'the last method of sign-in is not removed, whoever else removes one at the same time',
  119: 'no response shows keys, credential ids to others, or whether a user or a passkey exists; the first proof of an address ends passkeys (14.6.2)',
  // Identity providers: OpenID Connect Core 1.0 (3.1.2, 3.1.3), RFC 6749, 7636, 8252, 9207 and 9700, ASVS 5.0 chapter 10, CVE-2015-9284, CVE-2022-31107.
  121: 'a response of a provider works once, for ten minutes, in the browser that began, or with PKCE for the app that began [RFC 9700, 2.1.1; RFC 6749, 10.12]',
  122: 'an ID token is checked for signature, algorithm (neither none nor a shared secret), issuer, audience and azp [OIDC Core, 3.1.3.7]',
  123: 'an ID token is checked for nonce, expiry and age, and a missing claim is a refusal [OIDC Core, 3.1.3.7]',
  124: 'iss in the response is checked, and a state belongs to one provider with a callback of its own [RFC 9207; RFC 9700, 4.4]',
  125: 'state, nonce, verifier, cookie and one-time code are stored hashed or encrypted only [ASVS 10.4.3]',
  126: 'redirects and the callback URL come from exact lists of the application, never from a request, and no URL has a token [RFC 9700, 4.1, 4.11]',
  127: 'a slow, failing, redirecting or huge answer of a provider is 503 with Retry-After, never an admission [ASVS 10.5]',
  128: 'an identity is issuer and subject; the address is never the key [OIDC Core, 5.7]',
  129: 'an address counts only if the provider verified it and is trusted for it; otherwise known and unknown addresses get one answer [CVE-2022-31107]',
  130: 'the first proof of an address by a provider ends all earlier access to the account [pre-hijacking, promise 66]',
  131: 'sign-in with a provider refuses disabled users and asks for the second factor',
  132: 'a one-time code of a native app works once, for a minute, with the verifier of the app [RFC 8252, 8.1; RFC 7636]',
  133: 'linking needs a recent and active session of a user, no API key and no impersonation, and an identity has one user [CVE-2015-9284]',
  134: 'unlinking ends waiting sign-ins, and the last way to sign in stays',
  135: 'tokens of a provider are stored on request only, encrypted for one user, and deleted with the link',
  136: 'signing up is closed by default, and passes the checks of the endpoint that creates users [promise 64]',
  137: 'cookies of a sign-in are __Host- cookies; a page of another origin cannot exchange them',
  138: 'an ID token of Microsoft names the issuer of its tenant, and only tenants of the list are let in [OIDC Core, 3.1.3.7]',
  139: 'a session of a provider is as recent as the sign-in there that the ID token proves; where max_age is asked for, it must prove one [OIDC Core, 2 and 3.1.2.1; RFC 9470]',
  // One-time codes: ASVS 5.0 (6.3.1, 6.5.1 to 6.5.5, 6.6.2, 6.6.3), NIST 800-63B-4 (3.1.3, 3.2.2), RFC 8176.
  141: 'a one-time code is six digits of the CSPRNG, and is stored only as a hash with a key of the server',
  142: 'a code works once, for ten minutes at most, while it is the newest, and ends with the password',
  143: 'a code is dead after five wrong attempts, counted over all processes; they count like failed sign-ins',
  144: 'asking for a code and sending a wrong one give the same answer, statements and hashes for known and unknown users',
  145: 'codes count toward the limits of mails, and each number of a sender has the same limit',
  146: 'a mailed code proves its address, with the consequences of a first proof; a code to a number proves no address',
  147: 'a code is no second factor: a user with one is asked for it, and the session names the method mail or sms',
  148: 'a code is refused for another user, address, number, use or session',
  149: 'a code confirms only the session that asked for it, and no API key or impersonation can ask',
  150: 'the lifetime that a client chooses with a link or code stays within the bounds of the application',
  // Trusted devices: NIST 800-63B-4 (5.1), ASVS 5.0 (6.3.3, 6.3.4, 7.2.3, 7.5.2).
  151: 'the token of a trusted device replaces only the second factor, after the correct password, for its own user',
  152: 'a session that a trusted device started names the password only: factor() does not hold',
  153: 'tokens of devices have 256 bits, are stored as hashes, and end after a fixed time that the application sets',
  154: 'a new password, a factor turned on or off, disabling, the first proof and signing out everywhere end the trust',
  155: 'only a verified second factor makes a device trusted, and no API key or impersonation',
  156: 'users list and revoke their own devices only; nobody reads a token',
  157: 'while devices cannot be looked up, nobody signs in without the second factor',
  // Exports and the deletion of accounts: GDPR 15, 17 and 20, ASVS 5.0 (7.5.1, 14.2.7), CWE-362, CWE-404, GHSA-qq9h-g4jm-xgf3.
  // Options: CWE-1188, CWE-636.
  158: 'an option that does not exist is refused at every level, so that a misspelled one protects nothing silently',
  159: 'the check that a passkey failed is told to events and the audit log, never to the client',
  161: 'an export contains rows of its user only, also for admins; entries of the audit log tell nothing about others',
  162: 'an export obeys policies and readableBy for its user, and leaves out what the user could not read otherwise',
  163: 'a deletion that has begun cannot be undone, and no one signs in to the account any more',
  164: 'an account is deleted after the delay only; until then its user signs in, sees the date and can undo it',
  165: 'the deletion job comes to the same end and report after a crash anywhere, and with several processes at once',
  166: 'rows of a deleted user are deleted, anonymised or kept as their model says, and the report tells which',
  167: 'the last superadmin stays: the deletion is neither scheduled nor begun',
  168: 'deleting a user destroys no row that could be restored, directly or through other rows, unless its model says so',
  169: 'rows are handled in the transaction that deletes their user, and only if it deletes the user',
  170: 'asking for the deletion takes the password or a recent session; API keys and impersonations neither export nor delete',
  171: 'a soft-deleted user who gives up the address gets a placeholder that no one can use or guess',
  172: 'credentials of a user who gave up the address end, and do not come back with the user',
  173: 'an address that was given up comes back only if the model says so, and never from another account',
  174: 'a streamed response is produced as fast as its client reads, ends with its client, and is broken off by an error',
  175: 'exports are limited for each user; with stepUp, exports and deletions need a recent session',
  176: 'Values in messages and mails are data: a placeholder inside of a value is not expanded, and subjects and HTML stay safe. [CWE-134]',
  177: 'A text that a language lacks is English, never empty. The language changes neither codes, statuses nor field names.',
  178: 'Accept-Language is bounded and read in linear time. [promise 62]',
  180: 'Changes of the password, of identifiers and of factors are told to the address before the change, whoever makes them, after the commit only. [V6.3.7]',
  181: 'Notices share the limit of all mail to a mailbox, and one over the limit is reported. [promise 67]',
  182: 'A sign-in from a network and program that the user has not used is told by event and mail. The mail holds no text of the client. [V6.3.5, V7.5.2]',
  183: 'Known places are keyed hashes, bounded in number and in age; a sign-in at a known place costs one statement.',
  184: 'A place that cannot be looked up is reported, and the sign-in succeeds. [promise 61]',
  185: 'A look-up of leaked passwords sends five digits of the SHA-1 hash and nothing else, over TLS, with padding. [N 3.1.1.2, V6.2.12]',
  186: 'A list of leaked passwords that fails, is slow or answers anything but lines refuses the password, unless the application accepts that; an event says so. [promise 61]',
  187: 'a wrong password, code or passkey of a signed-in user counts, ends no session and is told apart from an ended session by its code',
  188: 'a sign-up with a provider that fails tells the event and the audit log the names of the columns, never their values, and the browser neither',
  189: 'required columns that no sign-up with a provider fills are named at the start',
  191: 'a named action needs its rule, its ability and a readable row, checked under a lock in the transaction of its handler',
  192: "allowed() applies the related model's whole policy: rules, scopes, bypass and abilities; cycles, check() and large rules are refused",
  193: 'before() judges each row of an update as it was, under a lock in the same transaction, and is refused elsewhere',
  194: 'a row is created for another user only under the rule `others`, as it is in the inserting statement, and for a user whom the caller may read',
  195: 'colleague() shows users of common active domains only, by roles held there; others look like missing users',
  196: 'holders of a declared role grant only the roles that it names, where they hold it, as it is in the writing statement; other names are refused',
  217: 'whoCan() names exactly the users for whom can() is true, in one statement, for random policies and on every database',
  218: 'explain() with a row gives the answer of can(), with the truth of each part of the policy, on every database',
  219: 'each counterfactual of explain() changes the answer when it is applied to the database, and no part of it does',
  220: 'whatCan() calls an action "all" or "none" only if it is so for every row; code and changed rows are never "all"',
  221: 'GET me/permissions tells a caller what the policies of the served models allow, and nothing about rules, rows, columns, users or grants',
  222: 'a refusal names the rule in development and to global admins only, never values of hidden columns, and nothing in any other environment',
  223: 'the permission matrix agrees with the engine, is the same each time, and values in rules change neither table nor page',
  201: 'deleted rows are listed and restored only for callers who could read them and whom the rule restore (else delete) allows; to others they are missing',
  202: 'the rule restore decides about every way to undo a soft delete, and delete about every way to do it',
  203: 'a restored user never takes an address that another account has by now',
  225: 'verify() finds planted leaks between tenants, each as a test that fails, and passes policies without one',
  226: 'verify() answers unknown, never pass, for rules and searches that it does not cover',
  224: 'lint() finds each kind of weakness where it was planted, and finds nothing in policies without it',
  204: 'a search looks only at columns that are marked for it and that the caller may read in every row of the list; every character of a word means itself',
  205: 'a change of an audited row and its entry are one transaction: neither exists without the other, for single, bulk and graph writes',
  206: 'entries hold no hidden value, no value of a column or model that readers of the log may not read, and none of another domain',
  207: 'admins pass the rules of columns in exactly the rows whose rules they bypass, in SQL as in memory, and sort and filter only by columns readable everywhere',
  232: 'coverage of policies counts each outcome of each leaf that reads, writes and questions judge, across processes, and costs nothing when it is off',
  227: 'the fingerprint of a caller differs for any two states of session, user, grants and domains; a state without an exact one is loaded by each request',
  228: 'no code of the application runs for a remembered caller before the proof: hooks, own handlers, loadUser and own routes get a loaded caller',
  229: 'requests of a remembered caller are answered with the same status, headers and body as with a look-up',
  230: 'remembered callers hold no password hash, share nothing that a request can change, and belong to one runtime',
  245: 'an INSERT that proves a remembered caller stores nothing for a caller who has changed, and is never repeated when its outcome is unknown',
  240: 'shared() allows exactly the subjects of shares that have not expired, in SQL as in memory, in lists, writes, explanations and whoCan()',
  241: 'nobody gives or takes more of a row than they have: by the action share, by relation and by expiry; the answer tells of no user or domain',
  242: 'no share outlives its row or its user, and none applies to a later row or user with the same id',
  244: 'the endpoints of shares answer in the order of all refusals, need the ability of the action share, and tell nothing of users and domains',
  243: 'every share and its end is in the audit log, in the transaction of the change',
  209: 'related() with recursive follows a relation within a model to a depth, through cycles and under global scopes at each step, and uses indexes',
}

const numbered = new Map([
  ...promises.map((about, i) => [i + 1, about]),
  ...Object.entries(featurePromises).map(([n, about]) => [Number(n), about]),
])

/** Promises of features that are not there yet. */
const notYet = {}

function* testFiles(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* testFiles(path)
    else if (/\.ts$/.test(entry.name)) yield path
  }
}

const found = new Map([...numbered.keys()].map((number) => [number, new Map()]))
const folders = ['test', 'src/testing/conformance']
for (const file of folders.flatMap((folder) => [...testFiles(join(root, folder))])) {
  const source = readFileSync(file, 'utf8')
  for (const [, , title] of source.matchAll(/(['"`])((?:(?!\1)[^\\\n]|\\.)*\[promises? [\d, and]+\](?:(?!\1)[^\\\n]|\\.)*)\1/g)) {
    for (const [, numbers] of title.matchAll(/\[promises? ([\d, and]+)\]/g)) {
      for (const number of numbers.match(/\d+/g) ?? []) {
        const name = relative(root, file)
        const titles = found.get(Number(number))
        if (!titles) throw new Error(`${name}: there is no promise ${number}`)
        titles.set(name, [...(titles.get(name) ?? []), title.replace(/\s*\[promises? [^\]]*\]/g, '')])
      }
    }
  }
}

const lines = [
  '# Which test holds which promise',
  '',
  'Made by `node scripts/map-promises.mjs` from the tags in the titles of the tests; the numbers are those of the security contract.',
  '',
]
const missing = []
for (const [number, about] of numbered) {
  const files = [...(found.get(number) ?? [])].sort(([a], [b]) => (a < b ? -1 : 1))
  lines.push(`## ${number}. ${about}`, '')
  if (files.length === 0) {
    if (!notYet[number]) missing.push(number)
    lines.push(notYet[number] ?? 'No test yet.', '')
  }
  for (const [file, titles] of files) {
    lines.push(`- \`${file}\``)
    for (const title of [...new Set(titles)]) lines.push(`  - ${title}`)
  }
  if (files.length > 0) lines.push('')
}
const text = `${lines.join('\n').trimEnd()}\n`

if (process.argv.includes('--check')) {
  let current = ''
  try {
    current = readFileSync(target, 'utf8')
  } catch {
    // Not there yet: not up to date.
  }
  if (missing.length > 0) console.error(`No test is tagged with promise ${missing.join(', ')}.`)
  if (current !== text) console.error('test/security/README.md is not up to date: run node scripts/map-promises.mjs')
  process.exit(missing.length > 0 || current !== text ? 1 : 0)
}
writeFileSync(target, text)
console.log(missing.length > 0 ? `Written; no test yet for ${missing.join(', ')}` : 'Written.')
