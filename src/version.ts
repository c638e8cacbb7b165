/** The version of this package, equal to the one in package.json (a test compares them). */
export const VERSION = '0.2.0'
