/**
 * The readable text of a mail: subject and body, decoded (RFC 5322 headers, RFC 2045-2047 encodings, charsets of the WHATWG Encoding
 * Standard). Made for corpora of real mail, spam included: nothing in a mail is an error, what cannot be decoded is read as
 * windows-1252, what is not text is left out. Depth and number of parts are bounded.
 */

const MAX_DEPTH = 8
const MAX_PARTS = 200

interface Headers {
  get(name: string): string | undefined
}

const bytesOf = (latin1: string): Uint8Array => Buffer.from(latin1, 'latin1')

function decodeCharset(bytes: Uint8Array, charset: string | undefined): string {
  const label = charset?.toLowerCase() ?? ''
  if (label === '' || /ascii|utf-?8|unknown|default/.test(label))
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    } catch {
      return new TextDecoder('windows-1252').decode(bytes)
    }
  try {
    return new TextDecoder(label).decode(bytes)
  } catch {
    return new TextDecoder('windows-1252').decode(bytes) // the label is unknown
  }
}

const decodeHex = (text: string): string => text.replace(/=([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))

/** Without spaces and tabs at the end. A regular expression for this takes quadratic time on a line of spaces. */
function trimBlanks(line: string): string {
  let end = line.length
  while (end > 0 && (line[end - 1] === ' ' || line[end - 1] === '\t')) end--
  return line.slice(0, end)
}

function decodeQuotedPrintable(latin1: string): string {
  return decodeHex(latin1.split('\n').map(trimBlanks).join('\n').replace(/=\n/g, ''))
}

/** Encoded words: `=?iso-8859-1?Q?caf=E9?=`. */
export function decodeHeader(value: string): string {
  return value
    .replace(/(\?=)\s+(?==\?)/g, '$1')
    .replace(/=\?([^?\s]{1,60})\?([QqBb])\?([^?]*)\?=/g, (_, charset: string, kind: string, text: string) => {
      const raw = kind.toUpperCase() === 'B' ? Buffer.from(text, 'base64').toString('latin1') : decodeHex(text.replace(/_/g, ' '))
      return decodeCharset(bytesOf(raw), charset.split('*')[0])
    })
}

/** Headers up to the first empty line, continued lines joined; the first of a repeated header counts. */
function splitMail(latin1: string): { headers: Headers; body: string } {
  const text = latin1.replace(/\r\n?/g, '\n')
  const end = /\n\n/.exec(text)
  const head = text.startsWith('\n') ? '' : end ? text.slice(0, end.index) : text
  const body = text.startsWith('\n') ? text.slice(1) : end ? text.slice(end.index + 2) : ''
  const map = new Map<string, string>()
  for (const line of head.replace(/\n[ \t]+/g, ' ').split('\n')) {
    const match = /^([!-9;-~]+)[ \t]*:(.*)$/.exec(line)
    if (match && !map.has(match[1]!.toLowerCase())) map.set(match[1]!.toLowerCase(), match[2]!.trim())
  }
  return { headers: map, body }
}

function parameter(value: string, name: string): string | undefined {
  const match = new RegExp(`;\\s*${name}\\s*=\\s*(?:"([^"]*)"|([^\\s;]+))`, 'i').exec(value)
  return match?.[1] ?? match?.[2]
}

const entities: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: ' ',
  copy: '©',
  reg: '®',
  trade: '™',
  hellip: '…',
  mdash: '—',
  ndash: '–',
  lsquo: '‘',
  rsquo: '’',
  ldquo: '“',
  rdquo: '”',
  bull: '•',
  middot: '·',
  pound: '£',
  euro: '€',
  cent: '¢',
  eacute: 'é',
}

function decodeEntity(whole: string, body: string): string {
  if (!body.startsWith('#')) return entities[body.toLowerCase()] ?? whole
  const code = /^#x/i.test(body) ? parseInt(body.slice(2), 16) : parseInt(body.slice(1), 10)
  return code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff) ? String.fromCodePoint(code) : ' '
}

/** The text of an HTML page; scripts, styles, comments and tags go, blocks become line ends. Every pattern is linear. */
export function htmlToText(html: string): string {
  return html
    .replace(/<!--[^]*?(?:-->|$)/g, ' ')
    .replace(/<(script|style|title)\b[^<>]*>[^]*?(?=<\/\1|$)/gi, ' ')
    .replace(/<\/?(?:p|div|br|tr|td|th|li|ul|ol|table|h[1-6]|hr|blockquote|center|body|html|pre|form|option)\b[^<>]*>/gi, '\n')
    .replace(/<[!/?a-z][^<>]*>/gi, '')
    .replace(/&(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]{2,8});?/g, decodeEntity)
}

const looksLikeHtml = (text: string): boolean => /<html\b|<body\b|<table\b|<a\s+href|<font\b/i.test(text)

/** Reads the parts of one mail; counts them, so that no nesting of parts can take long. */
class MailReader {
  #parts = 0

  read(headers: Headers, body: string, depth: number): { kind: 'plain' | 'html' | 'mixed'; text: string } {
    const none = { kind: 'mixed', text: '' } as const
    if (depth > MAX_DEPTH || ++this.#parts > MAX_PARTS) return none
    const contentType = headers.get('content-type') ?? 'text/plain'
    const type = (/^[^;\s]+/.exec(contentType)?.[0] ?? '').toLowerCase()
    const boundary = parameter(contentType, 'boundary')
    if (type.startsWith('multipart/') && boundary !== undefined) return this.#multipart(type, boundary, body, depth)
    if (type === 'message/rfc822') {
      const inner = splitMail(this.#decode(headers, body))
      return { kind: 'mixed', text: mailLines(inner.headers, this.read(inner.headers, inner.body, depth + 1).text) }
    }
    if (depth > 0 && !type.startsWith('text')) return none
    if (/^(image|audio|video|application)\//.test(type)) return none
    const text = decodeCharset(bytesOf(this.#decode(headers, body)), parameter(contentType, 'charset'))
    return type === 'text/html' || looksLikeHtml(text) ? { kind: 'html', text: htmlToText(text) } : { kind: 'plain', text }
  }

  #decode(headers: Headers, body: string): string {
    const encoding = headers.get('content-transfer-encoding')?.toLowerCase() ?? ''
    if (encoding.includes('base64')) return Buffer.from(body, 'base64').toString('latin1')
    return encoding.includes('quoted-printable') ? decodeQuotedPrintable(body) : body
  }

  #multipart(type: string, boundary: string, body: string, depth: number): { kind: 'mixed'; text: string } {
    const sections = `\n${body}`.split(`\n--${boundary}`).slice(1)
    const parts = sections
      .filter((section) => !section.startsWith('--'))
      .map((section) => {
        const { headers, body: inner } = splitMail(section.replace(/^[ \t]*\n/, ''))
        return this.read(headers, inner, depth + 1)
      })
      .filter((part) => part.text.trim() !== '')
    const plain = parts.find((part) => part.kind === 'plain')
    const chosen = type === 'multipart/alternative' ? [plain ?? parts[0]] : parts
    return { kind: 'mixed', text: chosen.map((part) => part?.text ?? '').join('\n') }
  }
}

function mailLines(headers: Headers, body: string): string {
  const subject = decodeHeader(decodeCharset(bytesOf(headers.get('subject') ?? ''), undefined))
  return `${subject}\n${body}`
}

/** Subject, line end, body, of the raw bytes of a mail; runs of white space are one space, empty lines go. */
export function mailText(bytes: Uint8Array): string {
  const raw = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
  const { headers, body } = splitMail(raw.replace(/^From [^\n]*\n/, ''))
  const text = mailLines(headers, new MailReader().read(headers, body, 0).text)
  return (
    text
      .split('\n')
      // eslint-disable-next-line no-control-regex -- control characters are what is removed
      .map((line) => line.replace(/[\s\u0000-\u001f\u007f-\u009f\u200b-\u200f\ufeff]+/g, ' ').trim())
      .filter((line) => line !== '')
      .join('\n')
  )
}
