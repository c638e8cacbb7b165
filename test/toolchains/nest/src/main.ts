import 'reflect-metadata'
import type { AddressInfo } from 'node:net'
import { NestFactory } from '@nestjs/core'
import { AppModule } from './app.module.js'
import { adapter, prepare } from './perms.js'

async function main(): Promise<void> {
  await prepare()
  const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] })
  app.use(adapter.authenticate())
  await app.listen(0, '127.0.0.1')
  console.log(`listening on port ${(app.getHttpServer().address() as AddressInfo).port}`)
}

void main()
