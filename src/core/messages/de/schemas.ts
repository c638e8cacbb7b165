import { schemas as english } from '../en/schemas.js'
import { translationOf } from '../translation.js'

/** The messages of JSON Schema keywords. */
export const schemas = translationOf(english)({
  'schema.type': 'muss vom Typ {type} sein',
  'schema.pattern': 'muss dem Muster „{pattern}“ entsprechen',
  'schema.format': 'muss das Format „{format}“ haben',
  'schema.minLength': 'darf nicht weniger als {limit} Zeichen haben',
  'schema.maxLength': 'darf nicht mehr als {limit} Zeichen haben',
  'schema.minItems': 'darf nicht weniger als {limit} Elemente haben',
  'schema.maxItems': 'darf nicht mehr als {limit} Elemente haben',
  'schema.uniqueItems': 'darf kein Element doppelt enthalten (die Elemente {j} und {i} sind gleich)',
  'schema.minProperties': 'darf nicht weniger als {limit} Eigenschaften haben',
  'schema.maxProperties': 'darf nicht mehr als {limit} Eigenschaften haben',
  'schema.minimum': 'muss >= {limit} sein',
  'schema.maximum': 'muss <= {limit} sein',
  'schema.exclusiveMinimum': 'muss > {limit} sein',
  'schema.exclusiveMaximum': 'muss < {limit} sein',
  'schema.multipleOf': 'muss ein Vielfaches von {multipleOf} sein',
  'schema.const': 'muss der festgelegte Wert sein',
  'schema.anyOf': 'muss einem der Schemas in anyOf entsprechen',
  'schema.oneOf': 'muss genau einem der Schemas in oneOf entsprechen',
  'schema.not': 'darf dem ausgeschlossenen Schema nicht entsprechen',
  'schema.if': 'muss dem Schema „{failingKeyword}“ entsprechen',
  'schema.propertyNames': 'enthält eine Eigenschaft mit ungültigem Namen',
  'schema.unevaluatedProperties': 'darf keine weiteren Eigenschaften haben',
  'schema.false': 'ist hier nie gültig',
})
