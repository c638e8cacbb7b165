module.exports = {
  testEnvironment: 'node',
  testMatch: ['**/*.test.mjs'],
  moduleFileExtensions: ['js', 'mjs', 'cjs', 'json'],
  roots: ['<rootDir>', '<rootDir>/../app'],
  transform: {},
}
