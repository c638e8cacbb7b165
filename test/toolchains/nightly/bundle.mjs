// Builds one bundle: node bundle.mjs rollup|webpack|vite
import { join } from 'node:path'
import commonjs from '@rollup/plugin-commonjs'
import json from '@rollup/plugin-json'
import nodeResolve from '@rollup/plugin-node-resolve'
import { rollup } from 'rollup'
import { build } from 'vite'
import webpack from 'webpack'

/** The drivers that Knex may load. Those in use are deployed in node_modules. */
const drivers = [
  'better-sqlite3',
  'mariadb',
  'mariadb/callback',
  'mysql',
  'mysql2',
  'oracledb',
  'pg',
  'pg-query-stream',
  'sqlite3',
  'tedious',
]

const tools = {
  async rollup() {
    // Knex and Objection are CommonJS: rollup leaves them in node_modules, and bundles the library.
    const bundle = await rollup({
      input: 'app/main.mjs',
      external: [...drivers, 'knex', 'objection'],
      plugins: [nodeResolve({ preferBuiltins: true, exportConditions: ['node'] }), commonjs(), json()],
      onwarn: ({ code, message }) => code !== 'CIRCULAR_DEPENDENCY' && code !== 'THIS_IS_UNDEFINED' && console.warn(message),
    })
    await bundle.write({ dir: 'out/rollup', format: 'es', entryFileNames: 'main.mjs', chunkFileNames: '[name].mjs' })
  },

  webpack: () =>
    new Promise((resolve, reject) => {
      const config = {
        mode: 'production',
        target: 'node',
        entry: './app/main.mjs',
        output: {
          path: join(process.cwd(), 'out/webpack'),
          filename: 'main.mjs',
          module: true,
          chunkFormat: 'module',
          library: { type: 'module' },
        },
        experiments: { outputModule: true },
        externalsType: 'module',
        externals: [...drivers, 'knex', 'objection'],
        // Keeps the names of classes, after which tables are named.
        optimization: { minimize: false, concatenateModules: false },
      }
      webpack(config, (error, stats) => {
        if (error) reject(error)
        else if (stats.hasErrors()) reject(new Error(stats.toString({ all: false, errors: true })))
        else resolve()
      })
    }),

  vite: () =>
    build({
      logLevel: 'warn',
      configFile: false,
      // Bundles the library too: without noExternal, Vite leaves every package in node_modules.
      ssr: { noExternal: ['objection-perms'], external: [...drivers, 'knex', 'objection'] },
      build: { ssr: 'app/main.mjs', outDir: 'out/vite', minify: false, rollupOptions: { output: { entryFileNames: 'main.mjs' } } },
    }),
}

await tools[process.argv[2]]()
