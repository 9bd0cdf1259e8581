/**
 * Q8BERT (Zafrir, Boudoukh, Izsak, Wasserblat 2019): quantization-aware training keeps 99 % of an encoder's accuracy at a quarter of the bytes, where quantizing
 * afterwards loses more; below 8 bits the steps are learned (LSQ, Esser et al. 2020), because ranges of max |w| leave too few codes.
 */
import { evaluateClassifier } from '../../ts/compress/train/tasks/classification.js'
import { compress, quantize, recipe, train, type PassSpec } from '../../ts/compress/index.js'
import { Rng } from '../../ts/base/rng.js'
import { balancedSample, loadSpamAssassin, splitSpamAssassin, subset, type TextDataset } from '../../ts/data/index.js'
import { textClassifier } from '../../ts/models/index.js'
import { buildWordPiece } from '../../ts/models/tokenizer/build-word-piece.js'
import { withTokenizer } from '../../ts/models/tokenizer/hub.js'
import { build, freshValues, Model } from '../../ts/nn/index.js'
import { definePaper } from './lib/paper.js'

const WIDTH = 64
const TOKENS = 64

function encoder(train: TextDataset, seed: number): Model {
  const tokenizer = buildWordPiece(train.texts, { size: 4000 })
  const body = {
    vocabulary: 4000,
    embedding: WIDTH,
    width: WIDTH,
    layers: 2,
    distinct: 2,
    heads: 4,
    hidden: 4 * WIDTH,
    positions: TOKENS,
    padding: 0,
    activation: 'gelu',
    eps: 1e-12,
    norm: 'post',
    causal: false,
    embeddingDropout: 0.1,
    dropout: 0.1,
    attentionDropout: 0.1,
  } as const
  const root = build(textClassifier({ body, classes: 2, dropout: 0.1 }), freshValues(Rng.of(seed, 'init')))
  return withTokenizer(new Model(root, { name: 'encoder', task: 'classification', classes: train.classes, history: [] }), tokenizer)
}

interface Variant {
  readonly name: string
  readonly bits: number
  readonly trained: boolean
  readonly stage: (lr: number) => readonly PassSpec[]
  readonly paper?: number
}

const tables = (bits: number): PassSpec => quantize.rtn({ bits, layout: 'tensor' }, { targets: ['@table'] })
const finetune = (lr: number): ReturnType<typeof train.finetune> => train.finetune({ epochs: 2, lr })
const weightsOnly = (bits: number): Variant['stage'] => {
  return () => [quantize.rtn({ bits, layout: 'tensor' })]
}

const variants: readonly Variant[] = [
  { name: 'afterwards, dynamic inputs', bits: 8, trained: false, stage: () => [quantize.dynamic({}), tables(8)] },
  { name: 'afterwards, calibrated inputs', bits: 8, trained: false, stage: () => [quantize.static({ calibration: 'minmax' }), tables(8)] },
  {
    name: 'trained (Q8BERT)',
    bits: 8,
    trained: true,
    stage: (lr) => [quantize.qat({ scheme: 'q8bert', retrain: finetune(lr) })],
    paper: 92.24,
  },
  { name: 'afterwards', bits: 4, trained: false, stage: weightsOnly(4) },
  { name: 'trained (LSQ)', bits: 4, trained: true, stage: (lr) => [quantize.qat({ scheme: 'lsq', bits: 4, retrain: finetune(lr) })] },
  { name: 'afterwards', bits: 2, trained: false, stage: weightsOnly(2) },
  { name: 'trained (LSQ)', bits: 2, trained: true, stage: (lr) => [quantize.qat({ scheme: 'lsq', bits: 2, retrain: finetune(lr) })] },
]

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length
const weightBytes = (m: Model): number => [...new Set(m.weights().map((w) => w.weight))].reduce((sum, w) => sum + w.bytes(), 0)

export const q8bert = definePaper({
  name: 'q8bert',
  title: 'Q8BERT: quantization-aware training of an encoder',
  source: 'Zafrir, Boudoukh, Izsak, Wasserblat 2019, table 1 (SST-2); steps below 8 bits: Esser et al., ICLR 2020',
  setup:
    'The scheme of the paper: symmetric codes with one scale per tensor, scales of max |w| in each step, averages of max |x| with decay 0.9999, gradients straight through, all linear layers and tables. Scaled down: BERT with 2 layers of width 64 trained from scratch on SpamAssassin (spam or not; near-duplicates ' +
    'of held-out mails do not train), two epochs of training with rounding; the paper fine-tunes BERT-base on GLUE.',
  run: async ({ seeds, quick, signal, row, claim, say }) => {
    const { train: rest, heldOut } = splitSpamAssassin(await loadSpamAssassin(), { heldOut: quick ? 200 : 600 })
    const data = subset<TextDataset>(rest, balancedSample(rest.labels, quick ? 150 : 900, 13))
    const accuracies = new Map<string, number[]>()
    const bytes = new Map<string, number>()
    const keep = async (key: string, model: Model): Promise<void> => {
      const { accuracy } = await evaluateClassifier(model, heldOut, () => Promise.resolve())
      accuracies.set(key, [...(accuracies.get(key) ?? []), 100 * accuracy])
      bytes.set(key, weightBytes(model))
      say(`${key}: ${(100 * accuracy).toFixed(1)} %`)
    }
    const keyOf = (v: Variant): string => `${v.bits} bits, ${v.name}`
    for (const seed of seeds) {
      const fresh = encoder(data, seed)
      const settings = {
        epochs: quick ? 1 : 4,
        batchSize: 32,
        optimizer: { kind: 'adamw', weightDecay: 0.01 },
        schedule: { kind: 'cosine', lr: 1e-3, end: 0, warmup: 0.1 },
        seed,
      } as const
      const { model } = await train(fresh, data, { ...settings, signal })
      fresh.dispose()
      await keep('32 bits', model)
      // What the same training without rounding gives: the gain of two epochs more is not the rounding's.
      const longer = await train(model, data, { ...settings, epochs: 2, schedule: { kind: 'constant', lr: 3e-4 }, signal })
      await keep('32 bits, trained as long', longer.model)
      longer.model.dispose()
      for (const v of variants) {
        const result = await compress(model, recipe([v.stage(3e-4)], { seed }), { data, signal })
        await keep(keyOf(v), result.model)
      }
      model.dispose()
    }
    const of = (key: string): number[] => accuracies.get(key)!
    const full = bytes.get('32 bits')!
    const put = (key: string, method: string, bits: number, paper?: number): void => {
      const at = { name: 'bits', value: bits }
      row({
        table: 'Accuracy',
        method,
        at,
        metric: 'accuracy',
        unit: '%',
        digits: 1,
        values: of(key),
        n: heldOut.size,
        ...(paper === undefined ? {} : { paper }),
      })
      row({ table: 'Bytes of weights', method, at, metric: 'smaller by', unit: 'x', values: [full / bytes.get(key)!] })
    }
    put('32 bits', 'f32', 32)
    put('32 bits, trained as long', 'f32, trained as long as the others', 32, 92.36)
    for (const v of variants) put(keyOf(v), v.name, v.bits, v.paper)
    const [base, q8] = [mean(of('32 bits, trained as long')), mean(of('8 bits, trained (Q8BERT)'))]
    claim({
      text: 'Quantization-aware training keeps at least 99 % of the accuracy',
      holds: q8 >= 0.99 * base,
      detail: `${q8.toFixed(2)} % of ${base.toFixed(2)} %: ${((100 * q8) / base).toFixed(2)} % of it`,
    })
    const ratio = full / bytes.get('8 bits, trained (Q8BERT)')!
    claim({ text: 'at a quarter of the bytes', holds: ratio >= 3.8, detail: `${ratio.toFixed(2)}x smaller (biases and norms stay f32)` })
    for (const bits of [8, 4, 2]) {
      const after = Math.max(...variants.filter((v) => v.bits === bits && !v.trained).map((v) => mean(of(keyOf(v)))))
      const trained = Math.max(...variants.filter((v) => v.bits === bits && v.trained).map((v) => mean(of(keyOf(v)))))
      claim({
        text: `At ${bits} bits training with rounding is at least as good as rounding afterwards`,
        holds: trained >= after,
        detail: `${trained.toFixed(2)} % against ${after.toFixed(2)} %`,
      })
    }
  },
})
