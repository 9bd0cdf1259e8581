/** Augmentation and workers in the training of image classifiers: the loss of mixed batches, exact resume, bits that no worker changes. */
import { describe, expect, it } from 'vitest'
import {
  classification,
  packState,
  regression,
  regressionData,
  train,
  trainTask,
  trainingOf,
  trainSettings,
  unpackState,
  type ClassBatch,
  type TaskOptions,
  type TrainState,
} from '../../ts/compress/index.js'
import { textDataset } from '../../ts/data/dataset.js'
import type { LoadedNumbers } from '../../ts/data/loader/contract.js'
import { batchInputs } from '../../ts/models/inputs.js'
import { crossEntropy } from '../../ts/ops/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { bars, bitsOf, blobs, convnet, mlp, quick } from './toys.js'

const images = bars(100)
const caller = { ...quick, epochs: 2, workers: 0 }
const augment = { crop: { padding: 1 }, flip: 0.5, mixup: { alpha: 1 }, cutmix: { alpha: 1 } }

it('mixed batches cost share * loss(labels) + (1 - share) * loss(mixed.labels)', async () => {
  const model = convnet()
  const settings = trainSettings({ ...caller, augment: { mixup: { alpha: 1 } } })
  const task = classification(images)
  const batches = task.batches(model, settings, { epoch: 0, batch: 0 })
  const batch = (await batches.next()) as LoadedNumbers
  batches.close!()
  const { x, labels, mixed } = batch
  expect(mixed!.share).toBeGreaterThan(0.01)
  expect(mixed!.share).toBeLessThan(0.99)
  const before = x.slice()
  scope(() => {
    const loss = (task.loss({ forward: (input) => model.forward(input), model, settings, step: 0 }, batch) as Tensor).item()
    const scores = model.forward(tensor(x, [32, 1, 8, 8]))
    const [own, other] = [labels, mixed!.labels].map((l) => crossEntropy(scores, tensor(l, [32])).item())
    expect(loss).toBeCloseTo(mixed!.share * own! + (1 - mixed!.share) * other!, 5)
  })
  expect(x).toEqual(before) // SAM comes twice
})

it('images reach the model augmented, with its normalization', async () => {
  const model = convnet().withInfo({ normalize: { mean: 0.25, std: 2 } })
  const task = classification(images)
  const settings = trainSettings({ ...caller, augment: { flip: 1 } })
  const batch = (await task.batches(model, settings, { epoch: 1, batch: 2 }).next()) as LoadedNumbers
  scope(() => {
    const plain = batchInputs(model, images, batch.indices)
    const [want, got] = [(plain.x as ReturnType<typeof tensor>).read() as Float32Array, new Float32Array(batch.x.length)]
    task.loss(
      {
        forward: (x) => {
          got.set((x as ReturnType<typeof tensor>).read() as Float32Array)
          return model.forward(x)
        },
        model,
        settings,
        step: 0,
      },
      batch,
    )
    got.forEach((v, i) => expect(v).toBe(want[i - (i % 8) + 7 - (i % 8)]))
    expect(batch.labels).toEqual(plain.labels)
  })
})

describe.each([
  ['plain', {}],
  ['in parts, SAM', { accumulate: 3, sam: { rho: 0.05 } }],
] as const)('%s', (_name, more) => {
  it('continued from any step = never interrupted, also with workers', async () => {
    const states: TrainState[] = []
    const settings = { ...caller, augment, ...more }
    const source = convnet()
    const straight = await train(source, images, { ...settings, checkpoint: (take) => states.push(take()) })
    for (const [at, workers] of [
      [2, 0],
      [4, 2],
    ] as const) {
      const { json, tensors } = packState(states[at]!)
      const again = await train(source, images, { ...settings, workers, prefetch: 3, resume: unpackState(json, tensors) })
      expect(bitsOf(again.model)).toBe(bitsOf(straight.model))
      expect(again.epochs).toEqual(straight.epochs)
    }
    const { workers: _workers, ...kept } = settings
    expect(trainingOf(straight.model.info)).toEqual(trainSettings(kept))
  })
})

it('workers alone change no bit', async () => {
  const [plain, loaded] = await Promise.all([train(convnet(), images, quick), train(convnet(), images, { ...quick, workers: 1 })])
  expect(bitsOf(loaded.model)).toBe(bitsOf(plain.model))
})

it('an augmentation that differs is another training', async () => {
  let state: TrainState | undefined
  await train(convnet(), images, { ...caller, augment, checkpoint: (take) => (state ??= take()) })
  const again = train(convnet(), images, { ...caller, augment: { flip: 0.5 }, resume: state! })
  await expect(again).rejects.toMatchObject({ code: 'ERR_CHECKPOINT', details: { reason: 'settings' } })
})

it('parts of a batch hold their samples, labels and mixed labels', async () => {
  const task = classification(images)
  const whole = (await task.batches(convnet(), trainSettings({ ...caller, augment }), { epoch: 0, batch: 0 }).next()) as LoadedNumbers
  const parts = task.split(whole, 5) as LoadedNumbers[]
  const joined = <T>(of: (part: LoadedNumbers) => Iterable<T>): T[] => parts.flatMap((part) => [...of(part)])
  expect(parts.map((part) => [part.shape, task.count(part as ClassBatch)])).toEqual([6, 6, 7, 6, 7].map((n) => [[n, 1, 8, 8], n]))
  expect(joined((p) => p.x)).toEqual([...whole.x])
  expect(joined((p) => p.labels)).toEqual([...whole.labels])
  expect(joined((p) => p.indices)).toEqual([...whole.indices])
  expect(joined((p) => p.mixed!.labels)).toEqual([...whole.mixed!.labels])
})

describe('refused before the first step, with the place', () => {
  const run = (settings: Partial<TaskOptions>): Promise<unknown> => train(convnet(), images, { ...caller, ...settings })
  it.each([
    [{ augment: { flip: 2 } }, '/augment/flip'],
    [{ augment: { erase: { area: [0.5, 0.1] } } }, undefined],
    [{ augment: { normalize: { mean: [0], std: [1] } } }, '/augment/normalize'],
    [{ workers: 17 }, '/workers'],
    [{ prefetch: -1 }, '/prefetch'],
  ] as [Partial<TaskOptions>, string | undefined][])('%j', async (settings, pointer) => {
    await expect(run(settings)).rejects.toMatchObject({ code: 'ERR_OPTION', ...(pointer ? { details: { pointer } } : {}) })
  })

  it('what is no image, text, another task', async () => {
    const details = (name: string): object => ({ code: 'ERR_OPTION', details: { pointer: `/${name}` } })
    await expect(train(mlp(), blobs(40), { ...caller, augment })).rejects.toMatchObject(details('augment'))
    const texts = textDataset({ name: 't', texts: ['a'], labels: Int32Array.of(0), classes: ['c0', 'c1'] })
    await expect(train(convnet(), texts, caller)).rejects.toMatchObject(details('workers'))
    const numbers = regressionData({ name: 'n', features: new Float32Array(4), inputShape: [1], targets: new Float32Array(4) })
    const model = mlp({ width: 1, classes: 1 }).withInfo({ task: 'regression' })
    await expect(trainTask(model, regression(numbers), { ...caller, prefetch: 1 })).rejects.toMatchObject(details('workers'))
  })
})
