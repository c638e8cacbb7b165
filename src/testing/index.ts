export { type FakeClock, fakeClock } from './clock.js'
export {
  type ActionCoverage,
  type CoverageLeaf,
  type CoverageReport,
  type CoverageSum,
  type LeafCounts,
  type MissingOutcome,
  type PolicyCoverage,
  type PolicyCoverageOptions,
  policyCoverage,
} from './coverage.js'
export { expectAllowed, expectRefused } from './expectations.js'
export { type Factory, factory } from './factory.js'
export { testHasher } from './hasher.js'
export { type CapturedMailer, capturedMailer } from './mailer.js'
export { type CreateUserOptions, createUser, type SignedInAs, type SignInAsOptions, signInAs } from './users.js'
