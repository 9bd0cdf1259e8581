// Learns to say how words sound: an encoder reads letters, a decoder with attention says phonemes. Words come from a small language with rules of
// its own; with `cmu` as argument from the CMU Pronouncing Dictionary (117,000 English words, a download of 0.9 MB, some minutes).
import { Model, ops, seq2seq, sequencePairs, tokens, trainTask, translate } from 'tersor'
import { loadPronunciations } from 'tersor/data'
import { build, freshValues } from 'tersor/nn'

const real = process.argv[2] === 'cmu'
const draws = ops.randomUniform([2 ** 16], { seed: 1 }).read()
let drawn = 0
const uniform = () => draws[drawn++ % draws.length]
const random = { uniform, normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()) }
const one = (list) => list[Math.floor(uniform() * list.length)]

// Rules: "sh" is one sound, a double vowel is a long one, a final "e" is silent.
const sounds = ['<pad>', '<begin>', '<end>', 'T', 'S', 'H', 'SH', 'A', 'AA', 'O', 'OO']
function word() {
  let [letters, said] = ['', []]
  for (let n = 1 + Math.floor(uniform() * 3); n > 0; n--) {
    const [c, v] = [one(['t', 's', 'h', 'sh']), one(['a', 'o', 'aa', 'oo'])]
    if (!letters.endsWith('s') || c !== 'h') [letters, said] = [letters + c + v, [...said, c.toUpperCase(), v.toUpperCase()]]
  }
  if (uniform() < 0.3) letters += 'e'
  return [[...letters].map((c) => c.charCodeAt(0) - 94), said.map((s) => sounds.indexOf(s))]
}
const { pairs, names } = real
  ? await loadPronunciations().then((p) => ({ pairs: p.pairs.slice(0, 31000), names: p.sounds }))
  : { pairs: Array.from({ length: 1200 }, word), names: sounds }
const heldOut = pairs.slice(0, real ? 1000 : 100)
const known = new Set(heldOut.map(String))
const training = pairs.slice(heldOut.length).filter((pair) => !known.has(String(pair)))

// Share of phonemes that would have to be changed, added or left out.
function distance(a, b) {
  let row = b.map((_, j) => j + 1)
  a.forEach((x, i) => {
    let left = i + 1
    let diagonal = i
    row = row.map((above, j) => {
      left = Math.min(above + 1, left + 1, diagonal + (x === b[j] ? 0 : 1))
      diagonal = above
      return left
    })
  })
  return row[b.length - 1] ?? a.length
}
function errorRate(model, width) {
  const said = translate(
    model,
    heldOut.map(([s]) => s),
    { begin: 1, end: 2, width },
  )
  const wrong = said.reduce((n, [best], i) => n + distance(best.tokens, heldOut[i][1]), 0)
  return wrong / heldOut.reduce((n, [, t]) => n + t.length, 0)
}

const spec = seq2seq({ sourceVocabulary: 29, targetVocabulary: names.length, width: real ? 128 : 48 })
const untrained = new Model(build(spec, freshValues(random)), { name: 'sounds', task: 'classification', history: [] })
console.log(`${untrained.parameters()} parameters, ${training.length} words to learn, ${heldOut.length} others to try`)
const data = sequencePairs({ name: 'words', pairs: training, begin: 1, end: 2, pad: 0 })
const { model, epochs } = await trainTask(untrained, tokens(data), {
  epochs: real ? 6 : 10,
  batchSize: real ? 64 : 16,
  optimizer: { kind: 'adam' },
  schedule: { kind: 'linear', lr: real ? 0.003 : 0.015 },
  clipNorm: 5,
})
console.log(`loss ${epochs[0].loss.toFixed(2)} -> ${epochs.at(-1).loss.toFixed(2)}`)
console.log(`phoneme errors ${(100 * errorRate(model, 1)).toFixed(1)} %, with a beam of four ${(100 * errorRate(model, 4)).toFixed(1)} %`)
