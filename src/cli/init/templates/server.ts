import { type Choices, importExtension, typesOf } from '../choices.js'

/** Returns the module that starts the server and stops it at a signal. */
export function serverModule(choices: Choices): string {
  const ts = typesOf(choices)
  const extension = importExtension(choices)
  return `import { once } from 'node:events'
import { start } from './app.${extension}'
import { knex, perms } from './perms.${extension}'

const port = Number(process.env.PORT || 3000)
const host = process.env.HOST || '127.0.0.1' // only this machine; 0.0.0.0 accepts connections from other machines

async function main()${ts(': Promise<void>')} {
  const server = await start(port, host)
  console.log(\`Listening on http://\${host}:\${port}\`)

  async function stop()${ts(': Promise<void>')} {
    server.close()
    server.closeIdleConnections()
    await once(server, 'close')
    await perms.close()
    await knex.destroy()
  }
  process.once('SIGINT', () => void stop())
  process.once('SIGTERM', () => void stop())
}

main().catch((error${ts(': unknown')}) => {
  console.error(error)
  process.exitCode = 1
})
`
}
