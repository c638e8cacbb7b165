// ts-jest compiles the ES modules of these packages as well as the tests.
const typescript = [
  'ts-jest',
  {
    diagnostics: false,
    tsconfig: {
      module: 'commonjs',
      moduleResolution: 'node10',
      isolatedModules: true,
      target: 'es2022',
      allowJs: true,
      esModuleInterop: true,
    },
  },
]

module.exports = {
  testEnvironment: 'node',
  testMatch: ['**/*.test.ts'],
  moduleFileExtensions: ['ts', 'js', 'mjs', 'cjs', 'json'],
  transform: { '\\.(ts|m?js)$': typescript },
  transformIgnorePatterns: ['/node_modules/(?!(objection-perms|uuid)/)'],
}
