import { scenario } from './app/scenario.mjs'
import { word } from './word.mjs'

console.log(`${word}: ${JSON.stringify(await scenario())}`)
// Stays alive, as a server does.
setInterval(() => {}, 1000)
