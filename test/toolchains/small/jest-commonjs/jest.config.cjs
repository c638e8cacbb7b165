const babel = ['babel-jest', { presets: [['@babel/preset-env', { targets: { node: 'current' } }]] }]

module.exports = {
  testEnvironment: 'node',
  testMatch: ['**/*.test.js'],
  moduleFileExtensions: ['js', 'mjs', 'cjs', 'json'],
  roots: ['<rootDir>', '<rootDir>/../app'],
  transform: { '\\.m?js$': babel },
  // These packages are ES modules: Babel turns them into CommonJS.
  transformIgnorePatterns: ['/node_modules/(?!(objection-perms|uuid)/)'],
}
