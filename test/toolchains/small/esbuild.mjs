// Builds the bundles: node esbuild.mjs
import { build } from 'esbuild'

const common = {
  bundle: true,
  platform: 'node',
  // Keeps the names of classes, after which tables are named.
  keepNames: true,
  // The drivers that Knex may load. Those in use are deployed in node_modules.
  external: ['better-sqlite3', 'mariadb', 'mysql', 'mysql2', 'oracledb', 'pg', 'pg-query-stream', 'sqlite3', 'tedious'],
  logLevel: 'warning',
}

await build({
  ...common,
  entryPoints: ['app/main.mjs'],
  outfile: 'out/bundle.mjs',
  format: 'esm',
  // Knex and Objection are CommonJS and call require().
  banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
})
await build({ ...common, entryPoints: ['app/main-commonjs.mjs'], outfile: 'out/bundle.cjs', format: 'cjs', minify: true })
