/** Li et al. 2017 and Liu et al. 2019: after filters are cut out, what does training from new weights reach, against training on with the old ones? */
import { Rng } from '../../ts/base/rng.js'
import { compress, prune, recipe, train } from '../../ts/compress/index.js'
import { evaluateClassifier } from '../../ts/compress/train/tasks/classification.js'
import { subset, type Dataset } from '../../ts/data/dataset.js'
import { loadMnist } from '../../ts/data/mnist.js'
import {
  activation,
  batchNorm,
  build,
  conv2d,
  freshValues,
  globalAvgPool,
  linear,
  maxPool2d,
  Model,
  sequential,
  type ModuleSpec,
} from '../../ts/nn/index.js'
import { basicBlock } from '../../ts/models/vision/index.js'
import { definePaper, mean } from './lib/paper.js'

const ratios = [0.5, 0.75]
const settings = (epochs: number, seed: number) => ({
  epochs,
  batchSize: 64,
  optimizer: { kind: 'sgd' as const, momentum: 0.9, weightDecay: 2e-4 },
  schedule: { kind: 'multi-step' as const, lr: 0.05, at: [0.5, 0.75], factor: 0.1 },
  seed,
})

/** A residual net of three stages on digits. */
function net(seed: number): Model {
  const conv = conv2d({ in: 1, out: 12, kernel: [3, 3], padding: [1, 1], bias: false })
  const spec = sequential({
    conv,
    norm: batchNorm({ channels: 12 }),
    relu: activation({ function: 'relu' }),
    pool: maxPool2d({ kernel: [2, 2], stride: [2, 2] }),
    block1: basicBlock({ in: 12, out: 12 }),
    block2: basicBlock({ in: 12, out: 24, stride: 2 }),
    block3: basicBlock({ in: 24, out: 24 }),
    avgpool: globalAvgPool({}),
    fc: linear({ in: 24, out: 10, bias: true, init: 'fanIn' }),
  })
  return modelOf(spec, seed)
}
const modelOf = (spec: ModuleSpec, seed: number): Model =>
  new Model(build(spec, freshValues(Rng.of(seed, 'init'))), {
    name: 'digits',
    task: 'classification',
    inputShape: [1, 28, 28],
    history: [],
  })

const accuracy = async (model: Model, test: Dataset): Promise<number> =>
  100 * (await evaluateClassifier(model, test, async () => {})).accuracy

export const filters = definePaper({
  name: 'filters',
  title: 'Pruning filters, and training what is left from new weights',
  source: 'Li et al., ICLR 2017, table 1 and section 4; Liu et al., Rethinking the value of network pruning, ICLR 2019, table 1',
  setup:
    'A residual net (12 and 24 channels) on 6,000 digits of MNIST in place of VGG and ResNet on CIFAR; half and three quarters of the filters of every layer by their L1 norm, at once; as many epochs as the first training.',
  run: async ({ seeds, quick, row, claim, say, signal }) => {
    const { train: all, test: allTests } = await loadMnist()
    const first = (data: Dataset, n: number): Dataset =>
      subset(
        data,
        Uint32Array.from({ length: n }, (_, i) => i),
      )
    const [data, test] = [first(all, quick ? 1000 : 6000), first(allTests, quick ? 500 : 5000)]
    const epochs = quick ? 2 : 6
    const found = new Map<string, number[]>()
    const note = (method: string, ratio: number, value: number): void => {
      const key = `${method} ${ratio}`
      found.set(key, [...(found.get(key) ?? []), value])
    }
    const sizes = new Map<number, number>()
    for (const seed of seeds) {
      const trained = await train(net(seed), data, { ...settings(epochs, seed), snapshotEpochs: [epochs], signal })
      note('dense', 0, await accuracy(trained.model, test))
      for (const ratio of ratios) {
        const options = { data, snapshots: trained.snapshots, signal }
        const cut = async (
          retrain: ReturnType<typeof train.none | typeof train.finetune | typeof train.rewindLearningRate>,
        ): Promise<Model> => (await compress(trained.model, recipe([[prune.filters({ ratio, retrain })]], { seed }), options)).model
        const bare = await cut(train.none())
        sizes.set(ratio, bare.parameters() / trained.model.parameters())
        note('no retraining', ratio, await accuracy(bare, test))
        note('fine-tuning', ratio, await accuracy(await cut(train.finetune({ epochs, lr: 0.005 })), test))
        note('learning-rate rewinding', ratio, await accuracy(await cut(train.rewindLearningRate({ epochs })), test))
        const again = await train(modelOf(bare.spec(), seed + 1000), data, { ...settings(epochs, seed), signal })
        note('new weights', ratio, await accuracy(again.model, test))
        say(`seed ${seed}, ratio ${ratio}`)
      }
    }
    const methods = ['no retraining', 'fine-tuning', 'learning-rate rewinding', 'new weights']
    const table = 'test accuracy behind filter pruning'
    row({
      table,
      method: 'dense',
      at: { name: 'ratio', value: 0 },
      metric: 'accuracy',
      unit: '%',
      values: found.get('dense 0')!,
      n: test.size,
    })
    for (const method of methods)
      for (const ratio of ratios)
        row({
          table,
          method,
          at: { name: 'ratio', value: ratio },
          metric: 'accuracy',
          unit: '%',
          values: found.get(`${method} ${ratio}`)!,
          n: test.size,
        })
    for (const ratio of ratios)
      row({ table: 'parameters left', method: 'cut', at: { name: 'ratio', value: ratio }, metric: 'share', values: [sizes.get(ratio)!] })
    for (const ratio of ratios) {
      const [tuned, fresh, bare] = ['fine-tuning', 'new weights', 'no retraining'].map((m) => mean(found.get(`${m} ${ratio}`)!)) as [
        number,
        number,
        number,
      ]
      claim({
        text: `at ratio ${ratio}, training from new weights reaches what fine-tuning reaches, within a point (Liu et al. 2019)`,
        holds: fresh >= tuned - 1,
        detail: `${fresh.toFixed(2)} % against ${tuned.toFixed(2)} %`,
      })
      claim({
        text: `at ratio ${ratio}, retraining restores what cutting took (Li et al. 2017)`,
        holds: tuned > bare && tuned >= mean(found.get('dense 0')!) - 2,
        detail: `${bare.toFixed(2)} % cut, ${tuned.toFixed(2)} % retrained, ${mean(found.get('dense 0')!).toFixed(2)} % dense`,
      })
    }
  },
})
