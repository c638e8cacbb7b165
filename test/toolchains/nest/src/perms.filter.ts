import { type ArgumentsHost, Catch } from '@nestjs/common'
import { BaseExceptionFilter } from '@nestjs/core'
import { PermsError } from 'objection-perms'
import { adapter } from './perms.js'

const errorHandler = adapter.errorHandler()

/** Answers the library's errors with problem details. Without it, Nest answers 500. */
@Catch(PermsError)
export class PermsFilter extends BaseExceptionFilter {
  override catch(error: PermsError, host: ArgumentsHost): void {
    const http = host.switchToHttp()
    errorHandler(error, http.getRequest(), http.getResponse(), (unanswered) => super.catch(unanswered, host))
  }
}
