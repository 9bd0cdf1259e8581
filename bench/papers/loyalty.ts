/**
 * Xu et al. 2021, "Beyond preserved accuracy": a compressed model that learns from the one it was made of keeps to its answers, more than one of the same
 * size that is trained on the labels. Pruned nets and a smaller net, each with and without a teacher; everything else is the same.
 */
import { loyalty, outputs, argmaxRows, shareEqual } from '../../ts/analyze/index.js'
import { Rng } from '../../ts/base/rng.js'
import { classification, compress, distilled, prune, recipe, train, trainTask, type DistilledOptions } from '../../ts/compress/index.js'
import { loadMnist, subset, type NumberDataset } from '../../ts/data/index.js'
import { architectures } from '../../ts/models/index.js'
import { activation, build, flatten, freshValues, linear, Model, sequential, type ModuleSpec } from '../../ts/nn/index.js'
import { definePaper, mean, type PaperRun } from './lib/paper.js'

type Distill = Omit<DistilledOptions, 'teacher'>
const how: Distill = { temperature: 4, alpha: 0.9 }

const modelOf = (name: string, spec: ModuleSpec, data: NumberDataset, inputShape: readonly number[], seed: number): Model =>
  new Model(build(spec, freshValues(Rng.of(seed, name))), {
    name,
    task: 'classification',
    classes: data.classes,
    inputShape,
    normalize: { mean: 0.13, std: 0.31 },
    history: [],
  })

interface Figures {
  readonly accuracy: number
  readonly label: number
  readonly probability: number
}

/** All in percent, on the test images. */
async function figuresOf(model: Model, teacher: Model, test: NumberDataset): Promise<Figures> {
  const { label, probability } = await loyalty(model, teacher, test)
  const { values, width } = await outputs(model, test)
  return { accuracy: 100 * shareEqual(argmaxRows(values, width), test.labels), label: 100 * label, probability: 100 * probability }
}

class Book {
  readonly #found = new Map<string, Figures[]>()
  add(table: string, at: number | undefined, taught: boolean, figures: Figures): void {
    const key = JSON.stringify([table, at ?? null, taught])
    this.#found.set(key, [...(this.#found.get(key) ?? []), figures])
  }
  tell(run: PaperRun, n: number): void {
    for (const [key, list] of this.#found) {
      const [table, at, taught] = JSON.parse(key) as [string, number | null, boolean]
      for (const [metric, name] of [
        ['accuracy', 'accuracy'],
        ['label', 'label loyalty'],
        ['probability', 'probability loyalty'],
      ] as const)
        run.row({
          table: `${table}: ${name}`,
          method: taught ? 'with distillation' : 'labels only',
          ...(at === null ? {} : { at: { name: 'density', value: at } }),
          metric: name,
          unit: '%',
          values: list.map((f) => f[metric]),
          n,
        })
    }
    const tables = new Set([...this.#found.keys()].map((key) => (JSON.parse(key) as [string])[0]))
    for (const table of tables)
      for (const metric of ['label', 'probability'] as const) {
        const taught = [...this.#found.keys()].filter((key) => (JSON.parse(key) as [string])[0] === table && key.endsWith('true]'))
        const at = (key: string): number => mean(this.#found.get(key)!.map((f) => f[metric]))
        const gains = taught.map((key) => at(key) - at(key.replace(/true\]$/, 'false]')))
        run.claim({
          text: `${table}: distillation raises ${metric} loyalty over training on labels at equal size`,
          holds: gains.every((g) => g > 0),
          detail: `points gained in the means: ${gains.map((g) => g.toFixed(2)).join(', ')}`,
        })
      }
  }
}

export const loyaltyPaper = definePaper({
  name: 'loyalty',
  title: 'Distillation keeps a compressed model loyal',
  source:
    'Xu, Zhou, Ge, Xu, Wei, Zhou 2021, table 2: head pruning + FT 89.1 / 85.5, + KD 93.3 / 93.0 (label / probability loyalty, BERT on MNLI)',
  setup:
    'LeNet-5 on 10,000 images of MNIST as teacher; pruned by magnitude (global) to density 0.1, 0.05, 0.02 and trained on for 2 epochs at rate 0.01; a net 784-16-10 trained for 6 epochs. T = 4, alpha = 0.9; same seeds, epochs and rates without a teacher. 10,000 test images.',
  run: async (run) => {
    const { train: all, test: allTest } = await loadMnist({ signal: run.signal })
    const [size, held] = run.quick ? [2000, 1000] : [10_000, allTest.size]
    const data = subset(
      all,
      Uint32Array.from({ length: size }, (_, i) => i),
    )
    const test = subset(
      allTest,
      Uint32Array.from({ length: held }, (_, i) => i),
    )
    const book = new Book()
    const teachers: number[] = []
    for (const seed of run.seeds) {
      const { spec, inputShape } = architectures.lenet5({ inputShape: data.inputShape, classes: 10 })
      const settings = {
        epochs: run.quick ? 2 : 4,
        batchSize: 64,
        seed,
        schedule: { kind: 'cosine' as const, lr: 0.05 },
        signal: run.signal,
      }
      const { model: teacher } = await train(modelOf('lenet5', spec, data, inputShape, seed), data, settings)
      teachers.push((await figuresOf(teacher, teacher, test)).accuracy)
      for (const density of run.quick ? [0.05] : [0.1, 0.05, 0.02])
        for (const taught of [false, true]) {
          run.say(`seed ${seed}: density ${density}, ${taught ? 'with' : 'without'} a teacher`)
          const pass = prune.magnitude({
            sparsity: 1 - density,
            scope: 'global',
            retrain: train.finetune({ epochs: run.quick ? 1 : 2, lr: 0.01 }),
            ...(taught ? { distill: how } : {}),
          })
          const { model } = await compress(teacher, recipe([[pass]], { seed }), { data, signal: run.signal })
          book.add('Pruned LeNet-5', density, taught, await figuresOf(model, teacher, test))
          model.dispose()
        }
      const small = sequential({
        flat: flatten({}),
        fc1: linear({ in: 784, out: 16, bias: true, init: 'he' }),
        act: activation({ function: 'relu' }),
        fc2: linear({ in: 16, out: 10, bias: true, init: 'he' }),
      })
      for (const taught of [false, true]) {
        run.say(`seed ${seed}: 784-16-10, ${taught ? 'with' : 'without'} a teacher`)
        const student = modelOf('small', small, data, inputShape, seed)
        const plain = classification(data)
        const task = taught ? distilled(plain, { ...how, teacher }) : plain
        const { model } = await trainTask(student, task, { ...settings, epochs: run.quick ? 2 : 6 })
        book.add('Small net (784-16-10)', undefined, taught, await figuresOf(model, teacher, test))
        model.dispose()
      }
    }
    run.row({ table: 'Teacher', method: 'LeNet-5', metric: 'accuracy', unit: '%', values: teachers, n: test.size })
    book.tell(run, test.size)
  },
})
