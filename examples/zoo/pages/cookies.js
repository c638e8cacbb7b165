// The tokens are in cookies that this script cannot read: it only asks for them, and the browser sends them along.

const one = (id) => document.getElementById(id)

function send(method, path, body) {
  const headers = { ...(body && { 'content-type': 'application/json' }), ...(path.endsWith('/login/') && { prefer: 'cookies' }) }
  return fetch(path, { method, headers, ...(body && { body: JSON.stringify(body) }) })
}

/** Where the access token has expired, gets a new one and tries again. */
async function ask(method, path, body) {
  let answer = await send(method, path, body)
  if (answer.status === 401 && (await send('POST', '/api/users/refresh/')).ok) answer = await send(method, path, body)
  return answer
}

async function show(problem) {
  const me = await ask('GET', '/api/users/me/')
  one('message').textContent = problem ?? ''
  one('sign-in').hidden = me.ok
  one('inside').hidden = !me.ok
  if (!me.ok) return
  one('who').textContent = (await me.json()).email
  const { data } = await (await ask('GET', '/api/documents/?sort=-createdAt')).json()
  one('documents').replaceChildren(
    ...data.map(({ title, content }) => Object.assign(document.createElement('li'), { textContent: `${title}: ${content}` })),
  )
}

/** Sends a form's fields as JSON, and shows what came of it. */
function onSubmit(form, path, how) {
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    const answer = await how('POST', path, Object.fromEntries(new FormData(form)))
    if (answer.ok) form.reset()
    await show(answer.ok ? undefined : (await answer.json()).detail)
  })
}

onSubmit(one('sign-in'), '/api/users/login/', send)
onSubmit(one('create'), '/api/documents/', ask)
one('sign-out').addEventListener('click', async () => {
  await send('POST', '/api/users/logout/')
  await show()
})
await show()
