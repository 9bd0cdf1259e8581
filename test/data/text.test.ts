import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { jaccard, nearDuplicates, nearest, normalizedWords, shingles } from '../../ts/data/dedup.js'
import { decodeHeader, htmlToText, mailText } from '../../ts/data/mail.js'
import { errorOf } from '../formats/lib.js'

describe('near-duplicates', () => {
  const long = 'the quick brown fox jumps over the lazy dog and runs away into the deep dark forest before anybody can see it'

  test('words: case, compatibility forms and punctuation do not count', () => {
    expect(normalizedWords('Ｈｅｌｌｏ,  WORLD! ﬁne—2nd\n')).toEqual(['hello', 'world', 'fine', '2nd'])
    expect(normalizedWords('...')).toEqual([])
  })

  test('the same text in other dress is a duplicate, another is not', () => {
    const texts = [
      long.toUpperCase(),
      `${long} 4924161298765`,
      `> ${long.replace(/ /g, '\n> ')}`,
      'something else entirely that shares no phrase with it at all',
    ]
    expect([...nearDuplicates(texts, [long])]).toEqual([0, 1, 2])
    expect([...nearDuplicates(['Hi'], ['hi!'])]).toEqual([0])
    expect([...nearDuplicates(['Hi there'], ['hi'])]).toEqual([])
  })

  test('the index finds exactly what comparing all pairs of word lists finds', () => {
    const word = fc.constantFrom('a', 'b', 'c', 'd')
    const text = fc.array(word, { maxLength: 12 }).map((w) => w.join(' '))
    /** Jaccard of the shingles as texts: no hashing, no index. */
    const plain = (a: string, b: string, words: number): number => {
      const set = (t: string): Set<string> => {
        const list = t.split(' ').filter(Boolean)
        return new Set(list.length < words ? [list.join(' ')] : list.slice(words - 1).map((_, i) => list.slice(i, i + words).join(' ')))
      }
      const [x, y] = [set(a), set(b)]
      const common = [...x].filter((s) => y.has(s)).length
      return common / (x.size + y.size - common)
    }
    fc.assert(
      fc.property(
        fc.array(text, { maxLength: 6 }),
        fc.array(text, { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 4 }),
        (texts, references, words) => {
          nearest(texts, references, words).forEach(({ index, similarity }, i) => {
            const all = references.map((r) => plain(texts[i]!, r, words))
            expect(similarity).toBe(Math.max(...all))
            if (similarity > 0) expect(index).toBe(all.indexOf(similarity))
            else expect(index).toBe(-1)
            references.forEach((r, k) => expect(jaccard(shingles(texts[i]!, words), shingles(r, words))).toBe(all[k]))
          })
        },
      ),
      { numRuns: 300, seed: 41 },
    )
  })

  test('options', () => {
    for (const threshold of [0, -1, 1.1, NaN]) expect(errorOf(() => nearDuplicates([], [], { threshold })).code).toBe('ERR_OPTION')
    for (const words of [0, 1.5, NaN]) expect(errorOf(() => nearDuplicates([], [], { words })).code).toBe('ERR_OPTION')
  })
})

describe('mail', () => {
  const mail = (text: string): string => mailText(Uint8Array.from(Buffer.from(text.replace(/\n/g, '\r\n'), 'latin1')))

  test.each([
    ['subject and body', 'From x@y  Thu Aug 22\nSubject: Hello\n there\nTo: z\n\nBody  line\n\n  two\n', 'Hello there\nBody line\ntwo'],
    ['no headers', '\njust text', 'just text'],
    ['no body', 'Subject: only', 'only'],
    ['latin1 without a charset', 'Subject: x\n\ncaf\xe9', 'x\ncafé'],
    ['utf-8 without a charset', 'Subject: x\n\ncaf\xc3\xa9', 'x\ncafé'],
    [
      'quoted-printable',
      'Subject: x\nContent-Transfer-Encoding: quoted-printable\nContent-Type: text/plain; charset="iso-8859-1"\n\ncaf=E9 =3D so=\nft',
      'x\ncafé = soft',
    ],
    [
      'base64',
      `Subject: x\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: BASE64\n\n${Buffer.from('héllo wörld').toString('base64')}\n`,
      'x\nhéllo wörld',
    ],
    ['a charset of its own', 'Subject: x\nContent-Type: text/plain; charset=koi8-r\n\n\xf0\xd2\xc9\xd7\xc5\xd4', 'x\nПривет'],
    ['a charset nobody knows', 'Subject: x\nContent-Type: text/plain; charset=x-nonsense\n\ncaf\xe9', 'x\ncafé'],
    ['encoded words', 'Subject: =?iso-8859-1?Q?caf=E9_?= =?UTF-8?B?w6k=?= !\n\n', 'café é !'],
    [
      'html',
      'Subject: x\nContent-Type: text/html\n\n<html><head><title>t</title><style>p{}</style></head><body><p>One&nbsp;&amp; two<br>three<script>evil()</script></body>',
      'x\nOne & two\nthree',
    ],
    ['html that says it is plain', 'Subject: x\nContent-Type: text/plain\n\n<HTML><BODY>buy <B>now</B></BODY></HTML>', 'x\nbuy now'],
    [
      'alternatives: plain first',
      'Subject: x\nContent-Type: multipart/alternative; boundary=b\n\npreamble\n--b\nContent-Type: text/html\n\n<p>html</p>\n--b\nContent-Type: text/plain\n\nplain\n--b--\nepilogue',
      'x\nplain',
    ],
    [
      'alternatives: html if there is nothing else',
      'Subject: x\nContent-Type: multipart/alternative; boundary="b b"\n\n--b b\nContent-Type: text/plain\n\n\n--b b\nContent-Type: text/html\n\n<p>html</p>\n--b b--\n',
      'x\nhtml',
    ],
    [
      'attachments are left out',
      'Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\ntext\n--b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAAA\n--b--',
      'x\ntext',
    ],
    [
      'a mail within',
      'Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nSubject: inner\n\ninner text\n--b--',
      'x\ninner\ninner text',
    ],
    ['an image for a mail', 'Subject: x\nContent-Type: image/gif\n\nGIF89a', 'x'],
    ['control characters', 'Subject: x\n\na\x00b\x1bc\x07', 'x\na b c'],
  ])('%s', (_, text, expected) => expect(mail(text)).toBe(expected))

  test('a megabyte of anything takes a second at most, nested parts and repeated openings too', () => {
    const fill = (piece: string): string => piece.repeat(Math.ceil(2 ** 20 / piece.length))
    const html = 'Subject: x\nContent-Type: text/html\n\n'
    const hostile = {
      deep: `Subject: x\n${fill('Content-Type: multipart/mixed; boundary=b\n\n--b\n')}\ntext`,
      wide: `Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n${fill('--b\n\nx\n')}`,
      spaces: `Subject: x\nContent-Transfer-Encoding: quoted-printable\n\n${fill(' ')}x`,
      header: `Subject: ${fill(' ')}x\n\n`,
      words: `Subject: ${fill('=?a?q?')}\n\n`,
      gaps: `Subject: ${fill('?=  ')}\n\n`,
      type: `Subject: x\nContent-Type: ${fill('; boundary ')}\n\n`,
      ...Object.fromEntries(
        ['<a', '<!--', '<script>', '<p ', '&', '&#', '</script', '<', '>', 'a ', ' ', '<style '].map((piece) => [
          piece,
          html + fill(piece),
        ]),
      ),
    }
    for (const [name, text] of Object.entries(hostile)) {
      const start = process.cpuUsage()
      mail(text)
      const { user, system } = process.cpuUsage(start)
      expect((user + system) / 1e6, name).toBeLessThan(1)
    }
  })

  test('any bytes at all are some text', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.constantFrom(
          '',
          'Content-Type: text/html\n\n',
          'Content-Transfer-Encoding: base64\n\n',
          'Content-Type: multipart/mixed; boundary=a\n\n--a\n',
        ),
        (bytes, head) => {
          const text = mailText(Uint8Array.from(Buffer.concat([Buffer.from(head), bytes])))
          // eslint-disable-next-line no-control-regex -- none may be left
          expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/)
        },
      ),
      { numRuns: 300, seed: 42 },
    )
  })

  test('entities', () => {
    expect(htmlToText('&lt;b&gt; &#65;&#x42; &#0; &#xd800; &unknown; &eacute')).toBe(
      '<b> AB       &unknown; é'.replace('AB       ', 'AB     '),
    )
    expect(decodeHeader('=?broken?Q?x')).toBe('=?broken?Q?x')
  })
})
