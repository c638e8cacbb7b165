import { cookies } from 'next/headers'
import { asAnonymous, runAs } from 'objection-perms'
import { application, Note } from '../lib/notes.js'

export default async function Page() {
  // First: it tells Next that the page depends on the request, so that Next does not render it during the build.
  const token = (await cookies()).get('__Host-access')?.value
  const { perms } = application()
  const caller = token === undefined ? null : await perms.authenticate(token)
  const list = () => Note.query().orderBy('title')
  const notes = caller === null ? await asAnonymous(list) : await runAs(caller, list)
  return (
    <ul>
      {notes.map(({ id, title }) => (
        <li key={id}>{title}</li>
      ))}
    </ul>
  )
}
