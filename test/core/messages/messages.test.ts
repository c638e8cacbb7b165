import { expect } from 'chai'
import { ConfigurationError, ForbiddenError, ValidationError } from '../../../src/core/errors.js'
import { negotiateLanguage } from '../../../src/core/messages/accept-language.js'
import { de } from '../../../src/core/messages/de.js'
import { en } from '../../../src/core/messages/en.js'
import { Languages, placeholdersIn } from '../../../src/core/messages/languages.js'
import { either, Message, type MessageId, message } from '../../../src/core/messages/message.js'

const ids = Object.keys(en) as MessageId[]

describe('messages', () => {
  it('the German text of each message has the placeholders of the English one', () => {
    expect(Object.keys(de).sort()).to.deep.equal([...ids].sort())
    for (const id of ids) expect(placeholdersIn(de[id]).sort(), id).to.deep.equal(placeholdersIn(en[id]).sort())
  })

  it('a message renders in each language, and errors carry the English text', () => {
    const error = new ForbiddenError(message('row.create', { model: 'Critter' }))
    expect(error.message).to.equal('You may not create this Critter.')
    const languages = new Languages()
    expect(languages.render(error.texts.detail, 'de')).to.equal('Sie dürfen dieses Objekt Critter nicht anlegen.')
    const factors = message('session.confirmFactor', { factors: either(['passkey', 'totp']) })
    expect(languages.render(factors, 'de')).to.include('(passkey oder totp)')
  })

  it('the errors of an error are English, and its texts keep the messages', () => {
    const { errors, texts } = new ValidationError(message('input.invalid'), [
      { field: 'title', message: message('field.maxLength', { limit: 20 }) },
    ])
    expect(errors).to.deep.equal([{ field: 'title', message: 'must have at most 20 characters' }])
    expect(new Languages().render(texts.errors[0]?.message ?? '', 'de')).to.equal('darf höchstens 20 Zeichen haben')
  })

  it('plural forms follow the rules of the language', () => {
    const pl = { 'duration.days': { one: '{count} dzień', few: '{count} dni', many: '{count} dni', other: '{count} dnia' } }
    const languages = new Languages({ languages: { pl } })
    const days = (count: number, language: string) => languages.render(message('duration.days', { count }), language)
    expect([days(1, 'en'), days(2, 'en'), days(1, 'de'), days(2, 'de')]).to.deep.equal(['1 day', '2 days', '1 Tag', '2 Tage'])
    expect([days(1, 'pl'), days(3, 'pl'), days(5, 'pl')]).to.deep.equal(['1 dzień', '3 dni', '5 dni'])
  })

  it('[promise 176] placeholders inside of values are text: nothing is expanded twice', () => {
    const given = '{field} $& $1 {limit} %s {constructor}'
    const text = new Languages().render(message('field.part', { field: given, problem: '{field}' }), 'de')
    expect(text).to.equal(`${given} {field}`)
    expect(String(new Message('field.enum', { values: [given] }))).to.equal(`must be one of ${given}`)
    expect(String(new Message('field.enum', Object.create({ values: 'inherited' })))).to.equal('must be one of {values}')
  })

  it('[promise 177] a message that a language lacks is English, never empty', () => {
    const languages = new Languages({ languages: { fr: { 'row.forbidden': 'Vous n’avez pas le droit.' } } })
    expect(languages.render(message('row.forbidden'), 'fr')).to.equal('Vous n’avez pas le droit.')
    for (const id of ids) expect(languages.render(new Message(id), 'fr'), id).to.not.equal('')
    expect(languages.render(message('field.required'), 'fr')).to.equal('is required')
    expect(languages.render(message('field.required'), 'xx')).to.equal('is required')
  })

  it('invalid languages throw a ConfigurationError that names the fix', () => {
    const make = (options: object) => () => new Languages(options)
    expect(make({ languages: { fr: { 'row.forbiden': 'x' } } })).to.throw(ConfigurationError, 'Did you mean row.forbidden?')
    expect(make({ languages: { fr: { 'field.maxLength': 'au plus {max}' } } })).to.throw(ConfigurationError, 'Use {limit}')
    expect(make({ languages: { fr: { 'field.maxLength': { one: 'x' } } } })).to.throw(ConfigurationError, "with 'other'")
    expect(make({ languages: { 'not a tag': {} } })).to.throw(ConfigurationError, 'BCP 47')
    expect(make({ languages: { fr: null } })).to.throw(ConfigurationError, 'must be an object')
    expect(make({ defaultLanguage: 'fr' })).to.throw(ConfigurationError, 'en, de')
    expect(make({ languages: { en: false }, defaultLanguage: 'de' })).to.not.throw()
  })
})

describe('Accept-Language', () => {
  const choose = (header: string | undefined) => negotiateLanguage(header, ['en', 'de', 'pt-BR'], 'en')

  it('the language with the highest weight is chosen, and the first one of equal weights', () => {
    expect(choose('de')).to.equal('de')
    expect(choose('DE-at')).to.equal('de')
    expect(choose('fr, de;q=0.5, en;q=0.4')).to.equal('de')
    expect(choose('en;q=0.5, de;q=0.7')).to.equal('de')
    expect(choose('en, de')).to.equal('en')
    expect(choose('de;q=1.000 , en')).to.equal('de')
    expect(choose('pt')).to.equal('pt-BR')
    expect(choose('pt-PT')).to.equal('en')
  })

  it('a language with weight 0 is not chosen, and * stands for the others', () => {
    expect(choose('de;q=0, *')).to.equal('en')
    expect(choose('en;q=0, *')).to.equal('de')
    expect(choose('en;q=0, fr')).to.equal('en')
    expect(choose('*;q=0')).to.equal('en')
  })

  it('invalid parts are ignored', () => {
    for (const header of ['', ',', ';;', 'q=1', 'de;q=2', 'de;q=-1', 'de;q=0.1234', 'de q=1', 'd\u00e9', 'constructor'])
      expect(choose(header), header).to.equal('en')
    expect(choose('??, de;q=0.9')).to.equal('de')
  })

  it('[promise 178] only the first 500 characters of the header are read', () => {
    expect(choose(`${'xx,'.repeat(160)}de`)).to.equal('de')
    expect(choose(`${'xx,'.repeat(170)}de`)).to.equal('en')
  })
})
