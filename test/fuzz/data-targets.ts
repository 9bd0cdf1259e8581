/** Readers of data: tables, lines, texts, pairs, mail, pronunciations, vocabularies. */
import fs from 'node:fs'
import path from 'node:path'
import {
  loadData,
  loadPairs,
  loadTargets,
  loadText,
  mailText,
  openLoader,
  parseDataSpec,
  parsePronunciations,
  streamData,
  Vocabulary,
} from '../../ts/data/index.js'
import { mutateBytes, mutateJson, type Random } from './mutate.js'
import { numbered, type Target } from './target.js'

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

const numbers = utf8('a,b,label\n1,2.5,x\n-3e2,.5,y\n0,1e-3,x\n7,8,"y"\n')
const texts = utf8('label,text\r\nspam,"Buy, now ""cheap"""\r\nham,Hello there\r\nspam,"two\nlines"\r\n')
const tabs = utf8('text\tlabel\ttarget\nthe cat "sat\tanimal\t1.5\nthe dog ran\tanimal\t2\nit rains\tweather\t3\n')
const bare = utf8('1,2,0\n3,4,1\n5,6,0\n')
const lines = utf8('{"x":[1,2,3],"label":0}\n{"x":[4,5,6],"label":1}\n\n{"x":[7,8,9],"label":0}\n')
const said = utf8('{"text":"the cat sat","label":"a"}\n{"text":"the dog","label":"b"}\n')
const prose = utf8(
  'Call me Ishmael. Some years ago - never mind how long precisely - caf\u00e9 \u4e2d\u6587 \ud83d\ude00.\n\nIt is a way I have.\n',
)
const vocabulary = Vocabulary.build(['the cat sat', 'the dog ran'])

type Way = readonly [name: string, seed: Uint8Array, read: (file: string, folder: string) => Promise<unknown>]

const tables: readonly Way[] = [
  ['csv', numbers, (f) => loadData(parseDataSpec(`csv:${f}`))],
  ['csv', texts, (f) => loadData(parseDataSpec(`csv:${f},text=text,label=label`))],
  ['csv', bare, (f) => loadData(parseDataSpec(`csv:${f},header=no,label=2`))],
  ['tsv', tabs, (f) => loadData(parseDataSpec(`tsv:${f},label=label`))],
  ['tsv', tabs, (f) => loadData(parseDataSpec(`tsv:${f},quote=yes`))],
  ['tsv', tabs, (f) => loadTargets(`tsv:${f},text=text,target=target`)],
  ['csv', numbers, (f) => loadTargets(`csv:${f},target=a+b`)],
]

async function batches(spec: string, options: Parameters<typeof streamData>[1]): Promise<void> {
  const loader = openLoader(await streamData(spec, { blockRows: 2, ...options }), { batchSize: 2, workers: 0, prefetch: 0, seed: 1 })
  try {
    for (let i = 0; i < 4; i++) await loader.next()
  } finally {
    loader.close()
  }
}

const streams: readonly Way[] = [
  ['csv', numbers, (f) => batches(`csv:${f}`, { classes: ['x', 'y'] })],
  ['tsv', tabs, (f) => batches(`tsv:${f},text=text`, { classes: ['animal', 'weather'], vocabulary })],
  ['csv', texts, (f) => batches(`csv:${f},text=text`, { classes: ['spam', 'ham'], vocabulary })],
  ['jsonl', lines, (f) => batches(`jsonl:${f}`, {})],
  ['jsonl', said, (f) => batches(`jsonl:${f},text=text`, { classes: ['a', 'b'], vocabulary })],
]

const corpora: readonly Way[] = [
  ['txt', prose, (f) => loadText(`text:${f}`)],
  ['txt', prose, (f) => loadText(`text:${f},level=character,valid=0.3`)],
  ['txt', prose, (f) => loadText(`text:${f},words=spaces,valid=0`)],
  ['txt', prose, (f) => loadPairs(`parallel:${f},target=${f},level=character`)],
  ['tsv', tabs, (f) => loadPairs(`tsv:${f},source=text,target=label`)],
  ['csv', texts, (f) => loadPairs(`csv:${f},valid=0`)],
]

/** Number of the way, then the file. */
function waysTarget(name: string, ways: readonly Way[]): Target {
  const seeds = ways.map(([, seed]) => seed)
  return {
    name,
    make: (r) => {
      const k = r.below(ways.length)
      return numbered(k, mutateBytes(r, seeds[k]!, seeds))
    },
    read: async (bytes, folder) => {
      const [extension, , read] = ways[(bytes[0] ?? 0) % ways.length]!
      const file = path.join(folder, `data.${extension}`)
      fs.writeFileSync(file, bytes.subarray(1))
      await read(file, folder)
    },
  }
}

const mails = [
  'From: a@b.c\r\nContent-Type: multipart/mixed; boundary="x"\r\n\r\n--x\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>Caf=E9 &amp; more</p>\r\n--x\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8gd29ybGQ=\r\n--x--\r\n',
  'Subject: =?utf-8?B?aGVsbG8=?= there\n\nplain text\n',
].map(utf8)
const dictionary = utf8('export const dictionary = {\n  "cat": "K AE1 T",\n  dog: "D AO1 G # foreign",\n  "a\'s": "EY1 Z",\n}\n')

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
const bytesOf = (name: string, seeds: readonly Uint8Array[], read: (bytes: Uint8Array) => unknown): Target => ({
  name,
  make: (r: Random) => mutateBytes(r, r.pick(seeds), seeds),
  read: (bytes) => void read(bytes),
})

export const dataTargets = (): Target[] => [
  waysTarget('table', tables),
  waysTarget('lines', streams),
  waysTarget('text', corpora),
  bytesOf('mail', mails, mailText),
  bytesOf('pronunciations', [dictionary], (bytes) => parsePronunciations(textOf(bytes))),
  {
    name: 'vocabulary',
    make: (r) => mutateJson(r, JSON.stringify(vocabulary)),
    read: (bytes) => {
      let json: unknown
      try {
        json = JSON.parse(textOf(bytes))
      } catch {
        return // what is no JSON is for base/json.ts, which other targets reach
      }
      Vocabulary.fromJSON(json).encode('the cat \ud83d\ude00 ran')
    },
  },
]
