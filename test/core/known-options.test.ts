import { expect } from 'chai'
import { ConfigurationError } from '../../src/core/errors.js'
import { assertKnownOptions, each, type OptionNames, orOther } from '../../src/core/known-options.js'
import { thrown } from '../helpers/errors.js'

interface Options {
  readonly port?: number
  readonly tls?: { readonly key: string; readonly cert?: string }
  readonly log?: boolean | { readonly level?: string }
  readonly store?: { readonly size?: number } | { put(): void }
  readonly routes?: readonly { readonly path: string }[]
  readonly hosts?: Readonly<Record<string, { readonly root?: string }>>
  readonly mailer?: { send(): void }
}

const names: OptionNames<Options> = {
  port: true,
  tls: { key: true, cert: true },
  log: orOther({ level: true }),
  store: orOther({ size: true }, 'put'),
  routes: each({ path: true }),
  hosts: each({ root: true }),
  mailer: true,
}

const messageFor = (given: unknown) => thrown(() => assertKnownOptions(given as Options, names, 'listen')).message
const accepts = (given: unknown) => assertKnownOptions(given as Options, names, 'listen')

describe('unknown options', () => {
  it('are refused with the nearest option and all options', () => {
    const error = thrown(() => assertKnownOptions({ prot: 80 } as Options, names, 'listen'))
    expect(error).to.be.an.instanceOf(ConfigurationError)
    expect(error.message).to.equal(
      "listen({ prot }): there is no option 'prot'. Its options are port, tls, log, store, routes, hosts, mailer. Did you mean 'port'?",
    )
  })

  it('are refused in nested objects, in alternatives of true, in lists and in records', () => {
    expect(messageFor({ tls: { kye: '' } })).to.match(/^listen\(\{ tls: \{ kye \} \}\).*options are key, cert\. Did you mean 'key'/)
    expect(messageFor({ log: { levle: '' } })).to.match(/^listen\(\{ log: \{ levle \} \}\).*'level'/)
    expect(messageFor({ store: { szie: 1 } })).to.match(/^listen\(\{ store: \{ szie \} \}\).*'size'/)
    expect(messageFor({ routes: [{ path: '' }, { paht: '' }] })).to.match(/^listen\(\{ routes: \[\{ paht \}\] \}\).*'path'/)
    expect(messageFor({ hosts: { a: { rot: '' } } })).to.match(/^listen\(\{ hosts: \{ a: \{ rot \} \} \}\).*'root'/)
  })

  it('are refused with undefined as value, and by the names of members of Object', () => {
    expect(messageFor({ prot: undefined })).to.contain("'prot'")
    expect(messageFor({ constructor: 1 })).to.contain("'constructor'")
    expect(messageFor(JSON.parse('{"__proto__":{}}'))).to.contain("'__proto__'")
  })

  it('name the nested object that has an option of this name', () => {
    expect(messageFor({ key: '' })).to.contain("'key' is an option of tls.")
  })

  it('are refused in place of an object', () => {
    for (const given of [null, true, 'text', 5, []])
      expect(messageFor({ tls: given }), String(given)).to.match(/^listen\(\{ tls: .* \}\): pass an object\. Its options are key, cert/)
    expect(messageFor(7)).to.match(/^listen\(7\): pass an object/)
  })

  it('do not concern objects of the application, other alternatives, and symbols', () => {
    accepts({ mailer: { send() {}, smtp: 1 }, store: { put() {}, own: 1 }, log: true, [Symbol('own')]: 1 })
    accepts(undefined)
    accepts({
      get port() {
        throw new Error('Not yet.')
      },
    })
    accepts({ tls: undefined, routes: undefined })
  })

  it('have a list of names that must agree with their type', () => {
    // @ts-expect-error a name is missing
    const missing: OptionNames<{ a?: number; b?: number }> = { a: true }
    // @ts-expect-error a name is no option
    const extra: OptionNames<{ a?: number }> = { a: true, b: true }
    // @ts-expect-error nested options need names
    const nested: OptionNames<{ a?: { b?: number } }> = { a: true }
    // @ts-expect-error nested options beside true need names
    const beside: OptionNames<{ a?: boolean | { b?: number } }> = { a: true }
    // @ts-expect-error options in a list need names
    const listed: OptionNames<{ a?: { b?: number }[] }> = { a: true }
    expect([missing, extra, nested, beside, listed]).to.have.length(5)
  })
})
