import type { CanActivate, ExecutionContext } from '@nestjs/common'
import { adapter } from './perms.js'

const requireUser = adapter.requireUser()

/** Answers 401 unless the caller is signed in. */
export class SignedInGuard implements CanActivate {
  canActivate(context: ExecutionContext): Promise<boolean> {
    const http = context.switchToHttp()
    // When requireUser() refuses the caller, it has sent the response, and the handler must not run.
    return new Promise((resolve, reject) =>
      requireUser(http.getRequest(), http.getResponse(), (error) => (error === undefined ? resolve(true) : reject(error))),
    )
  }
}
