import { one, onSubmit, problemOf, send, signInWith } from '/users.js'

onSubmit(one('request'), async ({ email }) => {
  const problem = await problemOf(await send('POST', '/api/users/codes/request/', { email }))
  if (problem !== undefined) return problem
  one('to').textContent = email
  one('request').hidden = true
  one('sign-in').hidden = false
  one('sign-in').elements.code.focus()
})
signInWith(
  one('sign-in'),
  ({ code }) => send('POST', '/api/users/codes/', { email: one('to').textContent, code }),
  () => location.assign('/cookies.html'),
)
