// The helpers for an application's tests return rows and users of the model's own class.
import { initPerms, type User } from 'objection-perms'
import {
  capturedMailer,
  createUser,
  type FakeClock,
  factory,
  fakeClock,
  type SignedInAs,
  signInAs,
  testHasher,
} from 'objection-perms/testing'
import { Employee, UserDocument } from './models.js'

const documents = factory(UserDocument, (n) => ({ title: `Document ${n}`, content: '' }))

export async function helpers(knex: Parameters<typeof initPerms>[0]['knex']): Promise<void> {
  const perms = initPerms({ knex, user: Employee, passwordHasher: testHasher() })
  const employee: Employee = await createUser<Employee>({ department: 'Press' }, { role: 'editor', domain: 'press' })
  const someone: User = await createUser()
  const signedIn: SignedInAs<Employee> = await signInAs(employee, { perms })
  const headers: { readonly authorization: string } = signedIn.headers
  const department: string | null = signedIn.user.department
  const document: UserDocument = await documents.create({ title: 'Mine' })
  const many: UserDocument[] = await documents.createMany(3, { userId: someone.id })
  const clock: FakeClock = fakeClock(new Date())
  clock.advance(60)
  const text: string = capturedMailer().last('resetPassword').text
  console.log(headers, department, document.title, many.length, text)
  // @ts-expect-error no such column
  await documents.create({ titel: 'Mine' })
  // @ts-expect-error no such column
  await createUser<Employee>({ departement: 'Press' })
}
