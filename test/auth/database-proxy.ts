import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A TCP proxy of a database server, which a test can shut. */
export interface DatabaseProxy {
  /** The address of the database, through the proxy. */
  readonly url: string
  /** Cuts all connections, and refuses new ones. */
  shut(): Promise<void>
  open(): Promise<void>
  /** Cuts the first connection over which the application sends this, before the server hears of it. */
  cutAt(text: string): void
  close(): Promise<void>
}

/** Opens a proxy of the database server of `target`. */
export async function openDatabaseProxy(target: string): Promise<DatabaseProxy> {
  const { hostname, port } = new URL(target)
  const sockets = new Set<Socket>()
  let trap: string | undefined
  const server = createServer((client) => {
    const database = connect(Number(port), hostname)
    const both = [client, database]
    for (const socket of both) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(socket)
        for (const one of both) one.destroy()
      })
    }
    client.on('data', (chunk) => {
      if (trap !== undefined && chunk.includes(trap)) {
        trap = undefined
        client.destroy()
      } else {
        database.write(chunk)
      }
    })
    database.pipe(client)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address() as AddressInfo
  const shut = async (): Promise<void> => {
    const closed = once(server, 'close')
    server.close()
    for (const socket of sockets) socket.destroy()
    await closed
  }
  const url = new URL(target)
  url.host = `127.0.0.1:${address.port}`
  return {
    url: url.href,
    shut,
    async open() {
      server.listen(address.port, '127.0.0.1')
      await once(server, 'listening')
    },
    cutAt(text) {
      trap = text
    },
    async close() {
      if (server.listening) await shut()
    },
  }
}
