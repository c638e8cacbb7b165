import { scenario } from './scenario.mjs'

// CommonJS has no top-level await.
scenario().then((result) => console.log(JSON.stringify(result)))
