// Links in mails lead here. The token stands after the '#', where no server sees it, and is sent when the button is pressed:
// programs that open links to look at them use up nothing.

import { ask, one, onSubmit, problemOf, send, signInWith } from '/users.js'

const token = new URLSearchParams(location.hash.slice(1)).get('token')
// Out of the address bar and the history.
history.replaceState(null, '', location.pathname)

function offer(about, button, { password = false } = {}) {
  one('about').textContent = about
  one('go').textContent = button
  one('choose').hidden = !password
  one('use').elements.password.required = password
  one('use').hidden = false
}

function finish(outcome) {
  one('use').hidden = true
  one('done').hidden = false
  one('outcome').textContent = outcome
}

/** Sends the token, with a password where one is asked for. */
function onUse(path, outcome, { password = false } = {}) {
  onSubmit(one('use'), async (fields) => {
    const problem = await problemOf(await send('POST', path, { token, ...(password && { password: fields.password }) }))
    if (problem === undefined) finish(outcome)
    return problem
  })
}

const pages = {
  '/verify-email'() {
    offer('Is this e-mail address yours?', 'Confirm')
    onUse('/api/users/verify-email/', 'Your address is confirmed.')
  },
  '/change-email'() {
    offer('Shall your account have this e-mail address?', 'Confirm')
    onUse('/api/users/change-email/', 'Your account has the new address: sign in with it.')
  },
  '/reset-password'() {
    offer('Choose a new password.', 'Set the password', { password: true })
    onUse('/api/users/reset-password/', 'You have a new password: sign in with it.', { password: true })
  },
  '/magic-link'() {
    offer('Sign in with this link.', 'Sign in')
    signInWith(
      one('use'),
      () => send('POST', '/api/users/magic-link/', { token }),
      // Where cookies are off, the tokens come to the page.
      ({ access_token: shown }) => (shown ? finish(`Your access token: ${shown}`) : location.assign('/cookies.html')),
    )
  },
  async '/invitation'() {
    const me = await ask('GET', '/api/users/me/')
    if (me.ok) {
      offer(`You are invited. Accept as ${(await me.json()).email}?`, 'Accept')
      onUse('/api/users/invitations/accept/', 'You are in.')
    } else {
      offer('You are invited. Choose a password for your account; if you have one, sign in first and open the link again.', 'Register', {
        password: true,
      })
      onUse('/api/users/invitations/register/', 'You have an account, and are in: sign in.', { password: true })
    }
  },
}

if (token) await pages[location.pathname.replace(/\/$/, '')]()
else one('message').textContent = 'There is nothing here without the whole link from the mail.'
