import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { en } from '../../src/core/messages/en.js'
import type { MessageText } from '../../src/core/messages/message.js'

const page = fileURLToPath(new URL('../../docs/languages.md', import.meta.url))
const [start, end] = ['<!-- messages -->\n', '<!-- end of messages -->\n']

function tableOfMessages(): string {
  const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('<', '&lt;')
  const textOf = (text: MessageText) => (typeof text === 'string' ? text : Object.values(text).join(' / '))
  const rows = Object.entries<MessageText>(en).map(([id, text]) => `| \`${id}\` | ${cell(textOf(text))} |`)
  return ['', '| Id | English text |', '|---|---|', ...rows, '', ''].join('\n')
}

describe('docs/languages.md', () => {
  it('lists every message id with its English text (UPDATE_DOCS=1 writes the list)', () => {
    const text = readFileSync(page, 'utf8')
    const [from, to] = [text.indexOf(start) + start.length, text.indexOf(end)]
    const expected = text.slice(0, from) + tableOfMessages() + text.slice(to)
    if (process.env['UPDATE_DOCS']) writeFileSync(page, expected)
    else expect(text).to.equal(expected)
  })
})
