// Passkeys without a build step. The access token stays in this page: a reload signs out.

const one = (id) => document.getElementById(id)
let token

async function call(method, path, body) {
  const headers = { ...(body && { 'content-type': 'application/json' }), ...(token && { authorization: `Bearer ${token}` }) }
  const answer = await fetch(`/api/users/${path}`, { method, headers, ...(body && { body: JSON.stringify(body) }) })
  const said = answer.status === 204 ? null : await answer.json()
  if (!answer.ok) throw new Error(said.detail)
  return said
}

/** Has the browser answer options for a passkey that the user has. */
async function answer(options, more) {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options)
  return (await navigator.credentials.get({ publicKey, ...more })).toJSON()
}

/** Shows what is wrong, if anything. */
async function reporting(work) {
  one('message').textContent = ''
  try {
    await work()
  } catch (error) {
    if (error.name !== 'AbortError') one('message').textContent = error.message
  }
}

function onSubmit(id, use) {
  one(id).addEventListener('submit', (event) => {
    event.preventDefault()
    reporting(() => use(Object.fromEntries(new FormData(event.target))))
  })
}

function onClick(button, use) {
  button.addEventListener('click', () => reporting(use))
}

let offering = new AbortController()

/** Offers passkeys in the field for the address, until another one is asked for. */
async function offerInField() {
  if (!(await PublicKeyCredential.isConditionalMediationAvailable?.())) return
  offering = new AbortController()
  const { signal } = offering
  const passkey = await answer(await call('POST', 'passkeys/options/'), { mediation: 'conditional', signal })
  await finish(await call('POST', 'passkeys/', { passkey }))
}

async function finish({ access_token: given }) {
  offering.abort()
  token = given
  one('signed-out').hidden = true
  one('second-factor').hidden = true
  one('signed-in').hidden = false
  one('who').textContent = `You are ${(await call('GET', 'me/')).email}`
  await list()
}

function signedOut() {
  token = undefined
  one('signed-out').hidden = false
  one('signed-in').hidden = true
  reporting(offerInField)
}

async function list() {
  const { data } = await call('GET', 'me/passkeys/')
  one('passkeys').replaceChildren(...data.map(itemOf))
}

function itemOf({ id, name, lastUsedAt }) {
  const item = document.createElement('li')
  const [rename, remove] = ['Rename', 'Remove'].map((text) => {
    const button = document.createElement('button')
    button.textContent = `${text} ${name}`
    return button
  })
  onClick(rename, async () => {
    await call('PATCH', `me/passkeys/${id}/`, { name: one('add').elements.name.value })
    await list()
  })
  onClick(remove, async () => {
    await call('DELETE', `me/passkeys/${id}/`)
    await list()
  })
  item.append(`${name}, ${lastUsedAt ? 'used' : 'not used yet'} `, rename, ' ', remove)
  return item
}

onSubmit('password', async (fields) => {
  const said = await call('POST', 'login/', fields)
  if (said.status !== 'second_factor') return await finish(said)
  const button = one('second-factor').querySelector('button')
  one('second-factor').hidden = false
  button.onclick = () =>
    reporting(async () => {
      offering.abort()
      const { challenge } = said
      const passkey = await answer(await call('POST', 'second-factor/options/', { challenge }))
      await finish(await call('POST', 'second-factor/', { challenge, passkey }))
    })
})

onClick(one('with-passkey'), async () => {
  offering.abort()
  await finish(await call('POST', 'passkeys/', { passkey: await answer(await call('POST', 'passkeys/options/')) }))
})

onSubmit('add', async ({ name }) => {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(await call('POST', 'me/passkeys/options/'))
  const passkey = (await navigator.credentials.create({ publicKey })).toJSON()
  const { recoveryCodes } = await call('POST', 'me/passkeys/', { passkey, name })
  one('recovery-codes').textContent = recoveryCodes ? `Keep these recovery codes: ${recoveryCodes.join(' ')}` : ''
  await list()
})

onClick(one('confirm'), async () => {
  const { amr } = await call('POST', 'me/confirm/', { passkey: await answer(await call('POST', 'me/confirm/options/')) })
  one('message').textContent = `Confirmed with ${amr.join(' ')}`
})

onClick(one('sign-out'), async () => {
  await call('POST', 'logout/')
  signedOut()
})

signedOut()
