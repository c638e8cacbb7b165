import { expect } from 'chai'
import { CliError, describeFailure, loadFailure } from '../../src/cli/failure.js'
import { ConfigurationError, MissingTableError, ServiceUnavailableError, ValidationError } from '../../src/core/errors.js'

const withCode = (message: string, code: string, more: object = {}) => Object.assign(new Error(message), { code, ...more })

describe('describeFailure()', () => {
  const cases: readonly [title: string, error: unknown, text: string | RegExp][] = [
    ['keeps the message of a CliError', new CliError('Name the file.'), 'Name the file.'],
    ['keeps the message of an error of the library', new ConfigurationError('Use a longer secret.'), 'Use a longer secret.'],
    [
      'adds the fields of a ValidationError',
      new ValidationError('The input is not valid.', [{ field: 'email', message: 'is required' }]),
      'The input is not valid. email is required.',
    ],
    [
      'names the command that creates a missing table',
      new MissingTableError('user', 'x'),
      /^The database has no table 'user'\. Run .*migrate up/,
    ],
    [
      'names the address of a database that does not answer',
      withCode('connect', 'ECONNREFUSED', { address: '::1', port: 5432 }),
      /^The database at ::1:5432 /,
    ],
    [
      'names the code behind a 503',
      new ServiceUnavailableError(undefined, { cause: { code: 'ETIMEDOUT' } }),
      /cannot be reached \(ETIMEDOUT\)/,
    ],
    [
      'explains an SQLite file that cannot be opened',
      withCode('SQLITE_CANTOPEN: unable', 'SQLITE_CANTOPEN'),
      /^The SQLite file cannot be opened/,
    ],
    [
      'explains the same behind a 503',
      new ServiceUnavailableError(undefined, { cause: { code: 'SQLITE_CANTOPEN' } }),
      /^The SQLite file cannot be opened/,
    ],
    [
      'leaves out the SQL before the message of a driver, also over several lines',
      withCode('select * from (\n  select 1 - 1\n) - password authentication failed for user "ada"', '28P01'),
      /^The database refuses the connection or the statement: password authentication failed for user "ada"\. Correct/,
    ],
    [
      "reads the driver's error inside an error of Objection",
      Object.assign(new Error('wrapped'), { nativeError: withCode('database "zoo" does not exist', '3D000') }),
      /^The database refuses .*database "zoo" does not exist\. Correct/,
    ],
    [
      'explains errors of files',
      withCode('EACCES: no', 'EACCES', { path: '/etc/x' }),
      /^\/etc\/x cannot be used: this user may not do that/,
    ],
    [
      'explains a full disk',
      withCode('ENOSPC: no', 'ENOSPC', { path: 'out.json' }),
      'out.json cannot be used: the disk is full: free some space.',
    ],
    [
      'shows the first line of other errors, and names --debug',
      new Error('Broken\n    at line 1'),
      'The command failed: Broken. Run it again with --debug to see where.',
    ],
    ['shows values that are no errors', 'text', 'The command failed: text'],
  ]
  for (const [title, error, text] of cases) {
    it(title, () => {
      if (typeof text === 'string') expect(describeFailure(error)).to.equal(text)
      else expect(describeFailure(error)).to.match(text)
    })
  }
})

describe('loadFailure()', () => {
  it('shows the first error of esbuild', () => {
    expect(loadFailure(new Error('Transform failed with 1 error:\n/a.ts:2:6: ERROR: Expected identifier'))).to.equal(
      'Transform failed with 1 error: /a.ts:2:6: ERROR: Expected identifier.',
    )
  })
})
