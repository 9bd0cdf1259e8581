/** `tersor train`, `inspect` and `evaluate` on small data of every kind. */
import fs from 'node:fs'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { evaluateModel, wilsonInterval } from '../../ts/analyze/index.js'
import { loadData } from '../../ts/data/index.js'
import { loadModel } from '../../ts/models/file.js'
import { filesIn } from '../formats/lib.js'
import { json, succeeds, tempDir, tersor, writeArrays, writeFlowers, writeImages } from './lib.js'

const dir = tempDir()
const at = (name: string): string => path.join(dir, name)
const images = writeImages(at('images'), { train: 160, test: 80 })
const heldImages = `${images},split=test`
const arrays = writeArrays(at('arrays.npz'), 120)
const flowers = writeFlowers(at('flowers.csv'), 240)
const heldFlowers = writeFlowers(at('flowers-held.csv'), 90, 2)

interface Trained {
  readonly file: string
  readonly bytes: number
  readonly parameters: number
  readonly settings: { readonly epochs: number; readonly batchSize: number; readonly seed: number; readonly schedule: { kind: string } }
  readonly epochs: readonly { readonly epoch: number; readonly loss: number; readonly accuracy?: number; readonly metrics?: object }[]
}
interface Evaluated {
  readonly bytes: number
  readonly metric: string
  readonly value: number
  readonly macroF1: number
  readonly matthews: number
  readonly interval: readonly [number, number]
  readonly n: number
  readonly latencyMs: { readonly p50: number; readonly p95: number }
}
interface Inspected {
  readonly name: string
  readonly weights: readonly { readonly path: string; readonly parameters: number; readonly bytes: number; readonly nonFinite: number }[]
  readonly total: { readonly parameters: number; readonly bytes: number; readonly sparsity: number }
  readonly history: readonly { readonly kind: string; readonly examples: number }[]
}

const cases = [
  {
    arch: 'mlp',
    data: flowers,
    held: heldFlowers,
    options: ['--epochs', '8', '--batch', '16', '--optimizer', 'adamw', '--lr', '0.005', '--schedule', 'step'],
  },
  { arch: 'lenet5', data: images, held: heldImages, options: ['--epochs', '4', '--batch', '16', '--lr', '0.03'] },
  { arch: 'convnet', data: arrays, held: arrays, options: ['--epochs', '4', '--batch', '16', '--lr', '0.03', '--schedule', 'constant'] },
]

describe.concurrent.each(cases)('$arch', ({ arch, data, held, options }) => {
  const file = at(`${arch}.safetensors`)
  let trained: Trained
  beforeAll(async () => {
    trained = await json<Trained>(['train', arch, '--data', data, '--validation', held, '--out', file, '--seed', '3', ...options])
  })

  it('trains: learns the task, keeps the settings, leaves nothing but the file', () => {
    expect(trained.file).toBe(file)
    expect(trained.bytes).toBe(fs.statSync(file).size)
    expect(trained.settings).toMatchObject({ epochs: Number(options[1]), batchSize: 16, seed: 3 })
    expect(trained.epochs.map((e) => e.epoch)).toEqual(Array.from({ length: Number(options[1]) }, (_, i) => i + 1))
    expect(trained.epochs.at(-1)!.accuracy!).toBeGreaterThan(0.9)
    expect(filesIn(dir).filter((name) => name.startsWith(`${arch}.`))).toEqual([`${arch}.safetensors`])
  })

  it('inspects: the weights that the file has', async () => {
    const found = await json<Inspected>(['inspect', file])
    const model = loadModel(file)
    expect(found.name).toBe(arch)
    expect(found.weights.map((w) => [w.path, w.parameters, w.bytes, w.nonFinite])).toEqual(
      model.weights().map(({ path: p, weight }) => [p, weight.shape.reduce((a, b) => a * b, 1), weight.bytes(), 0]),
    )
    expect(found.total.parameters).toBe(trained.parameters)
    expect(found.total.bytes).toBe(4 * trained.parameters)
    expect(found.history).toMatchObject([{ kind: 'train', examples: expect.any(Number) }])
    model.dispose()
  })

  it('evaluates: the accuracy that the library finds, with its interval', async () => {
    const found = await json<Evaluated>(['evaluate', file, '--data', held])
    const model = loadModel(file)
    const dataset = await loadData(held, { classes: model.info.classes! })
    const own = await evaluateModel(model, dataset, { latencyRuns: 1 })
    expect(found).toMatchObject({ metric: 'accuracy', value: own.accuracy, n: dataset.size, bytes: trained.bytes })
    expect(found.value).toBe(trained.epochs.at(-1)!.accuracy)
    const { macroF1, matthews } = found
    expect(trained.epochs.at(-1)!.metrics).toEqual({ accuracy: found.value, macroF1, matthews })
    expect(found.interval).toEqual([...wilsonInterval(own.accuracy, dataset.size)])
    expect(found.latencyMs.p50).toBeGreaterThan(0)
    expect(found.latencyMs.p95).toBeGreaterThanOrEqual(found.latencyMs.p50)
    model.dispose()
  })
})

it('augments, with workers, and keeps the best by the figure that is named', async () => {
  const file = at('augmented.safetensors')
  const found = await json<{ settings: object; epochs: { metrics: { matthews: number } }[]; best: { value: number } }>([
    ...['train', 'lenet5', '--data', images, '--validation', heldImages, '--out', file, '--epochs', '2', '--batch', '16'],
    ...['--augment', 'crop=2,rotate=5,scale,flip=0,mixup=0.2', '--workers', '2', '--metric', 'matthews', '--keep-best'],
  ])
  expect(found.settings).toMatchObject({
    augment: { crop: { padding: 2 }, affine: { rotate: 5, scale: 0.1 }, flip: 0, mixup: { alpha: 0.2 } },
    metric: { name: 'matthews' },
  })
  expect(found.best.value).toBe(Math.max(...found.epochs.map((e) => e.metrics.matthews)))
})

it('trains in mixed precision and says so', async () => {
  const { stdout } = await succeeds([
    'train',
    'mlp',
    '--data',
    flowers,
    '--out',
    at('half.safetensors'),
    '--epochs',
    '4',
    '--precision',
    'bf16',
  ])
  expect(stdout).toMatch(/^mlp: 31,903 parameters; 240 examples, 3 classes; products in bf16$/m)
  const [first, second] = [...stdout.matchAll(/^train: epoch [14]\/4, loss ([\d.]+)/gm)].map((m) => Number(m[1]))
  expect(second!).toBeLessThan(first!)
})

it('says which figures there are, and what augmentation is for', async () => {
  const to = ['--validation', heldFlowers, '--out', at('refused.safetensors')]
  const [metric, augment] = await Promise.all([
    tersor(['train', 'mlp', '--data', flowers, ...to, '--metric', 'bleu']),
    tersor(['train', 'mlp', '--data', flowers, ...to, '--augment', 'flip']),
  ])
  expect(metric.stderr).toMatch(/ERR_OPTION.*accuracy, macroF1, matthews, got "bleu"/)
  expect(augment.stderr).toMatch(/ERR_OPTION.*is for images/)
})

describe.concurrent('for people', () => {
  const file = at('people.safetensors')
  let training = ''
  beforeAll(async () => {
    training = (await succeeds(['train', 'mlp', '--data', flowers, '--validation', heldFlowers, '--out', file, '--epochs', '2'])).stdout
  })

  it('train says what it does and what came of it', () => {
    expect(training).toMatch(/^mlp: 31,903 parameters; 240 examples, 3 classes$/m)
    expect(training).toMatch(/^train: epoch 1\/2, loss [\d.]+, accuracy [\d.]+ %, macroF1 [\d.]+ %, matthews -?[\d.]+, [\d.]+ s$/m)
    expect(training).toMatch(/^saved .*people\.safetensors: 1\d\d KiB, accuracy [\d.]+ %, macroF1 [\d.]+ %, matthews -?[\d.]+ \(n = 90\)$/m)
  })

  it('inspect and evaluate draw tables', async () => {
    const [inspected, evaluated] = await Promise.all([succeeds(['inspect', file]), succeeds(['evaluate', file, '--data', heldFlowers])])
    expect(inspected.stdout).toMatch(/│ fc1\.weight +│ f32 +│ 300 x 4 +│ +1,200 │ +0\.0 % │ +4\.69 KiB │ +0 │/)
    expect(inspected.stdout).toMatch(/│ total +│ +│ +│ +31,903 │/)
    expect(evaluated.stdout).toMatch(/│ mlp +│ 1\d\d KiB │ accuracy │ [\d.]+ % │ [\d.]+ % to [\d.]+ % │ 90 │ +[\d.]+ % │ +-?[\d.]+ │/)
    expect(inspected.stderr + evaluated.stderr).toBe('')
  })
})

it('the same command gives the same file, on one thread or two; another seed another one', async () => {
  const train = (name: string, seed: string, threads: string): Promise<unknown> =>
    succeeds(['train', 'lenet5', '--data', images, '--out', at(name), '--epochs', '1', '--seed', seed], {
      env: { TERSOR_THREADS: threads },
    })
  await Promise.all([train('one', '5', '1'), train('two', '5', '2'), train('other', '6', '1')])
  const [one, two, other] = ['one', 'two', 'other'].map((name) => fs.readFileSync(at(name)))
  expect(one!.equals(two!)).toBe(true)
  expect(one!.equals(other!)).toBe(false)
})

it('a new training removes the snapshots of the old one', async () => {
  const file = at('again.safetensors')
  const train = (...more: string[]): Promise<unknown> =>
    succeeds(['train', 'mlp', '--data', flowers, '--out', file, '--epochs', '2', ...more])
  await train('--snapshots', '0,1,2')
  const snapshots = `${file}.snapshots`
  expect(filesIn(snapshots)).toEqual(['epoch-0.safetensors', 'epoch-1.safetensors', 'epoch-2.safetensors'])
  fs.writeFileSync(path.join(snapshots, 'notes.txt'), 'mine')
  await train('--snapshots', '1')
  expect(filesIn(snapshots)).toEqual(['epoch-1.safetensors', 'notes.txt'])
})

it('--out of evaluate belongs to --probe', async () => {
  const [out, probe] = await Promise.all([
    tersor(['evaluate', at('people.safetensors'), '--data', heldFlowers, '--out', at('x')]),
    tersor(['evaluate', at('people.safetensors'), '--data', heldFlowers, '--probe', flowers]),
  ])
  expect([out.code, probe.code]).toEqual([2, 2])
  expect(out.stderr).toMatch(/--out saves a model with its probe/)
  expect(probe.stderr).toMatch(/mlp classifies by itself and needs no probe/)
})
