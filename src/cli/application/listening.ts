import { Server } from 'node:net'

/**
 * Lets servers of the application listen on a free port of this machine only. A module that starts a server can then be loaded while
 * another process serves on its port, and the command serves nothing to the network.
 */
export function keepPortsFree(): void {
  const { listen } = Server.prototype
  Object.assign(Server.prototype, {
    listen(this: Server, ...args: unknown[]) {
      const onListening = args.find((one) => typeof one === 'function')
      return Reflect.apply(listen, this, [{ host: '127.0.0.1', port: 0 }, onListening])
    },
  })
}
