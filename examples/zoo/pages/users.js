// Code that the pages share. They ask for tokens in cookies, which scripts cannot read and the browser sends by itself.

export const one = (id) => document.getElementById(id)

const signsIn = /\/(?:login|codes|magic-link|second-factor)\/$/

export function send(method, path, body) {
  const headers = { ...(body && { 'content-type': 'application/json' }), ...(signsIn.test(path) && { prefer: 'cookies' }) }
  return fetch(path, { method, headers, ...(body && { body: JSON.stringify(body) }) })
}

/** Where the access token has expired, gets a new one and tries again. */
export async function ask(method, path, body) {
  let answer = await send(method, path, body)
  if (answer.status === 401 && (await send('POST', '/api/users/refresh/')).ok) answer = await send(method, path, body)
  return answer
}

/** Takes a form's fields when it is submitted; `use` says what is wrong, if anything. */
export function onSubmit(form, use) {
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    const problem = await use(Object.fromEntries(new FormData(form)))
    if (problem === undefined) form.reset()
    one('message').textContent = problem ?? ''
  })
}

/** Returns the errors of a response, by field if it names fields. */
export async function problemOf(answer) {
  if (answer.ok) return undefined
  return (await answer.json()).detail
}

/**
 * Signs in, in one step or two: a second factor's code is asked for with the form 'second-factor' of the page.
 *
 * @param first the form of the first step, which gives way to the second
 * @param done is given what the server said in the end
 */
export function signInWith(first, ask, done) {
  let challenge
  const went = async (answer) => {
    if (!answer.ok) return await problemOf(answer)
    const said = await answer.json()
    challenge = said.challenge
    first.hidden = true
    one('second-factor').hidden = challenge === undefined
    if (challenge === undefined) await done(said)
    else one('second-factor').elements.code.focus()
  }
  onSubmit(first, async (fields) => await went(await ask(fields)))
  onSubmit(one('second-factor'), async ({ code }) => await went(await send('POST', '/api/users/second-factor/', { challenge, code })))
}
