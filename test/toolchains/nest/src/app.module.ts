import { Body, Controller, Get, Module, Param, Post, UseGuards } from '@nestjs/common'
import { APP_FILTER } from '@nestjs/core'
import type { User } from 'objection-perms'
import { Caller } from './caller.decorator.js'
import { PermsFilter } from './perms.filter.js'
import { Note, perms } from './perms.js'
import { SignedInGuard } from './signed-in.guard.js'

@Controller()
class NotesController {
  @Post('sign-in')
  async signIn(@Body() input: { email: string; password: string }): Promise<{ token: string | null }> {
    const result = await perms.auth.signIn(input)
    return { token: result.status === 'signedIn' ? result.accessToken : null }
  }

  @Get('me')
  @UseGuards(SignedInGuard)
  me(@Caller() user: User): { email: string } {
    return { email: user.email }
  }

  @Post('notes')
  create(@Body() input: Record<string, unknown>): Promise<object> {
    return Note.createFrom(input)
  }

  @Get('notes/:id')
  get(@Param('id') id: string): Promise<object> {
    return Note.getOr404(id)
  }
}

@Module({ controllers: [NotesController], providers: [{ provide: APP_FILTER, useClass: PermsFilter }] })
export class AppModule {}
