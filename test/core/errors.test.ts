import { expect } from 'chai'
import * as coreErrors from '../../src/core/errors.js'
import { PermsError, type PermsErrorCode } from '../../src/core/errors.js'
import * as httpErrors from '../../src/http/core/errors.js'
import * as library from '../../src/index.js'

// A Record needs one entry for each member of the union: a missing or unknown code does not compile.
const codes: Record<PermsErrorCode, true> = {
  bad_request: true,
  unauthorized: true,
  invalid_token: true,
  invalid_credentials: true,
  insufficient_user_authentication: true,
  forbidden: true,
  insufficient_ability: true,
  account_disabled: true,
  not_found: true,
  conflict: true,
  taken: true,
  still_referenced: true,
  precondition_failed: true,
  payload_too_large: true,
  unsupported_media_type: true,
  invalid: true,
  missing_reference: true,
  too_many_values: true,
  too_many_attempts: true,
  unavailable: true,
  second_factor_unreadable: true,
  roles_not_loaded: true,
  no_context: true,
  no_runtime: true,
  runtime_closed: true,
  other_runtime: true,
  configuration: true,
  internal: true,
  method_not_allowed: true,
  uri_too_long: true,
  not_acceptable: true,
  ambiguous_credentials: true,
  foreign_origin: true,
}

type ErrorClass = new (...args: unknown[]) => PermsError

function isErrorClass(value: unknown): value is ErrorClass {
  return typeof value === 'function' && value.prototype instanceof PermsError
}

/** The code of an error. The text of a ProviderRefusal depends on its reason. */
const codeOf = (Class: ErrorClass) => new Class(Class.name === 'ProviderRefusal' ? 'sign_up_closed' : [], 'message').code

const classes = [...new Set([coreErrors, httpErrors, library].flatMap((exported) => Object.values(exported)).filter(isErrorClass))]

describe('PermsErrorCode', () => {
  it('contains the code of every error class', () => {
    for (const Class of classes) expect(codes, Class.name).to.have.property(codeOf(Class))
  })

  it('contains only codes of error classes and of unexpected errors', () => {
    const used = classes.map((Class) => codeOf(Class))
    expect([...new Set([...used, 'internal'])].sort()).to.deep.equal(Object.keys(codes).sort())
  })

  it('covers every error class that the package exports', () => {
    const exported = Object.entries(library).filter(([name]) => name.endsWith('Error') && name !== 'PermsError')
    expect(exported.length).to.be.above(20)
    for (const [name, value] of exported) expect(classes as unknown[], name).to.include(value)
  })
})
