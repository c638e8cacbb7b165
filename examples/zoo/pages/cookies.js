import { ask, one, onSubmit, problemOf, send, signInWith } from '/users.js'

async function show() {
  const me = await ask('GET', '/api/users/me/')
  one('sign-in').hidden = me.ok
  one('inside').hidden = !me.ok
  if (!me.ok) return
  one('who').textContent = (await me.json()).email
  const { data } = await (await ask('GET', '/api/documents/?sort=-createdAt')).json()
  one('documents').replaceChildren(
    ...data.map(({ title, content }) => Object.assign(document.createElement('li'), { textContent: `${title}: ${content}` })),
  )
}

signInWith(one('sign-in'), (fields) => send('POST', '/api/users/login/', fields), show)
onSubmit(one('create'), async (fields) => {
  const problem = await problemOf(await ask('POST', '/api/documents/', fields))
  if (problem === undefined) await show()
  return problem
})
one('sign-out').addEventListener('click', async () => {
  await send('POST', '/api/users/logout/')
  await show()
})
await show()
