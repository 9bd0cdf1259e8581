/** Q-BERT (Shen, Dong, Ye, Ma, Yao, Gholami, Mahoney, Keutzer, AAAI 2020): bits by the Hessian of each encoder layer, group-wise scales. */
import { evaluateModel, metrics, sensitivity } from '../../ts/analyze/index.js'
import type { Sensitivities, SensitivityMethod } from '../../ts/analyze/sensitivity/index.js'
import { compress, gridQuantizer, quantize, recipe, train, type PassSpec } from '../../ts/compress/index.js'
import { subset, type TextDataset } from '../../ts/data/index.js'
import type { Model, PlacedWeight } from '../../ts/nn/index.js'
import { definePaper, mean, type PaperRun, type Row } from './lib/paper.js'
import { missingWord, smallBert, type Sentences } from './lib/small-bert.js'

const ENCODER = ['body.layer*.*.weight', 'body.layer*.attention.*.weight']
const BITS = [2, 3, 4, 8]
const LAYOUTS = { tensor: 'layer-wise (one range per matrix)', channel: 'row-wise', group: 'group-wise (32 values)' } as const
const grid = { mode: 'affine', layout: 'group', groupSize: 32, range: 'mse', scales: 'f16' } as const
/** Rows of 96 and 384 values: the scales of wide groups cost 0.19 bits a weight. */
const WIDE = 96
const RATIO = 13

type Found = Readonly<Record<SensitivityMethod, Sensitivities>>
type Layered = Pick<Sensitivities, 'groups'>
const assignments = [
  ['largest eigenvalue, by encoder layer', 'eigenvalue', 'optimal'],
  ['the same, reversed', 'eigenvalue', 'reversed'],
  ['trace (HAWQ-v2), by weight', 'trace', 'optimal'],
  ['the same reversed', 'trace', 'reversed'],
  ['in random order, by weight', 'trace', 'random'],
  ['measured loss, by weight', 'direct', 'optimal'],
] as const

const encoderTargets = (model: Model): PlacedWeight[] =>
  model.weights().filter(({ path, role }) => path.startsWith('body.layer') && role === 'matrix')
const encoderBytes = (model: Model): number => encoderTargets(model).reduce((n, { weight }) => n + weight.bytes(), 0)

const bitsByPath = ({ groups }: Layered, bits: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(groups.flatMap((g) => g.paths.map((path) => [path, bits[g.name]!])))

/** One pass for each number of bits, for the weights that have it. */
function nearest(byPath: Readonly<Record<string, number>>): PassSpec[] {
  return [...new Set(Object.values(byPath))].map((bits) =>
    quantize.rtn({ ...grid, bits }, { targets: Object.keys(byPath).filter((path) => byPath[path] === bits) }),
  )
}

class Experiment {
  /** Values by name, one for each seed. */
  readonly #values = new Map<string, number[]>()

  constructor(
    private readonly run: PaperRun,
    private readonly data: Sentences,
    private readonly probes: TextDataset,
  ) {}

  #add(name: string, value: number): void {
    this.#values.set(name, [...(this.#values.get(name) ?? []), value])
  }

  /** Compresses, evaluates, keeps the accuracy. Gives the bytes of the encoder. */
  async #try(name: string, model: Model, passes: readonly PassSpec[], data = this.probes): Promise<number> {
    const { signal, say } = this.run
    const { model: small } = await compress(model, recipe([passes], { seed: 1 }), { data, signal })
    const accuracy = 100 * (await evaluateModel(small, this.data.test, { latencyRuns: 1, signal })).accuracy
    const bytes = encoderBytes(small)
    this.#add(name, accuracy)
    say(`${name}: ${accuracy.toFixed(2)} %, encoder ${(encoderBytes(model) / bytes).toFixed(2)}x smaller`)
    for (const [i, { weight }] of small.weights().entries()) if (weight !== model.weights()[i]!.weight) weight.dispose()
    return bytes
  }

  async seed(model: Model): Promise<void> {
    await this.#try('fp32', model, [quantize.rtn({}, { targets: ENCODER, ignore: ['**'] })])
    for (const layout of ['tensor', 'channel', 'group'] as const)
      for (const bits of BITS)
        await this.#try(`${layout} ${bits}`, model, [quantize.rtn({ ...grid, bits, layout, range: 'max' }, { targets: ENCODER })])
    const uniform = await this.#try('uniform', model, [quantize.rtn({ ...grid, bits: 3 }, { targets: ENCODER })])
    const found = await this.#sensitivities(model)
    for (const [name, method, rule] of assignments) {
      const { bits } = sensitivity.assignBits(found[method], uniform, { rule, seed: 1 })
      await this.#try(name, model, nearest(bitsByPath(found[method], bits)))
    }
    await this.#trained(model, found)
  }

  async #sensitivities(model: Model): Promise<Found> {
    const { quick, signal, say } = this.run
    const measure = async (method: SensitivityMethod, groups: readonly string[]): Promise<Sensitivities> => {
      const stop = method === 'trace' ? { iterations: 32, tolerance: 0.1 } : { iterations: 20, tolerance: 0.01 }
      const found = await sensitivity.sensitivities(model, this.probes, {
        method,
        groups,
        ...stop,
        targets: encoderTargets(model),
        bits: BITS,
        quantize: gridQuantizer({ ...grid }),
        shards: quick ? 2 : 10,
        batchSize: 32,
        signal,
      })
      say(`${method}: ${found.groups.map((g) => g.sensitivity.toPrecision(2)).join(' ')}`)
      return found
    }
    const layers = ['body.layer*']
    const [trace, eigenvalue, direct] = [await measure('trace', []), await measure('eigenvalue', layers), await measure('direct', [])]
    const costs = (s: Sensitivities): number[] => s.groups.flatMap((g) => g.choices.map((c) => c.cost))
    this.#add('spearman trace', metrics.spearman(costs(trace), costs(direct)))
    this.#add('spearman eigenvalue', metrics.spearman(costs(eigenvalue), costs(await measure('direct', layers))))
    return { trace, eigenvalue, direct }
  }

  /** Trained on with rounded weights, as the paper does: 2 bits by layout, and mixed bits within a 13th of the bytes. */
  async #trained(model: Model, found: Found): Promise<void> {
    const retrain = train.finetune({ epochs: 1, lr: 3e-4 })
    const shared = { scheme: 'jacob', mode: 'affine', inputs: 'none', retrain } as const
    for (const layout of ['tensor', 'group'] as const)
      await this.#try(`trained ${layout} 2`, model, [quantize.qat({ ...shared, bits: 2, layout }, { targets: ENCODER })], this.data.train)
    const choices = await this.#wideChoices(model, found)
    for (const rule of ['optimal', 'reversed'] as const) {
      const { bits } = sensitivity.assignBits(choices, encoderBytes(model) / RATIO, { rule })
      const options = { ...shared, layout: 'group', groupSize: WIDE, weightBits: bitsByPath(choices, bits) } as const
      const bytes = await this.#try(`trained ${RATIO}x ${rule}`, model, [quantize.qat(options, { targets: ENCODER })], this.data.train)
      if (rule === 'optimal') this.#add('ratio', encoderBytes(model) / bytes)
    }
  }

  /** Bytes and distances with a scale for each 96 values. Scales of trained weights are stored as f32. */
  async #wideChoices(model: Model, found: Found): Promise<Layered> {
    const groups = sensitivity.weightGroups('qbert', model, encoderTargets(model), [])
    const round = gridQuantizer({ ...grid, groupSize: WIDE, scales: 'f32', range: 'max' })
    return {
      groups: await sensitivity.knownSensitivities('qbert', groups, BITS, sensitivity.knownFrom(found.trace), round, () =>
        Promise.resolve(),
      ),
    }
  }

  report(): void {
    const { row, claim } = this.run
    const of = (name: string): readonly number[] => this.#values.get(name)!
    const at = (name: string): number => mean(of(name))
    const accuracy = (table: string, method: string, name: string, more: Partial<Row> = {}): void =>
      row({ table, method, metric: 'accuracy', unit: '%', values: of(name), n: this.data.test.size, ...more })
    for (const [layout, method] of Object.entries(LAYOUTS))
      for (const bits of BITS)
        accuracy('Uniform bits, rounded without training', method, `${layout} ${bits}`, { at: { name: 'bits', value: bits } })
    const equal = 'Mixed bits in the bytes of 3 bits everywhere, rounded without training'
    accuracy(equal, 'fp32', 'fp32')
    accuracy(equal, 'uniform 3 bits', 'uniform')
    for (const [name] of assignments) accuracy(equal, name, name)
    const trained = 'Trained on with rounded weights (one epoch)'
    accuracy(trained, 'fp32', 'fp32')
    accuracy(trained, '2 bits, layer-wise', 'trained tensor 2')
    accuracy(trained, '2 bits, group-wise (32 values)', 'trained group 2')
    accuracy(trained, `mixed bits by trace, encoder ${RATIO}x smaller`, `trained ${RATIO}x optimal`)
    accuracy(trained, 'the same bytes, reversed', `trained ${RATIO}x reversed`)
    for (const method of ['trace', 'eigenvalue'])
      row({ table: 'Rank correlation with the measured rise of the loss', method, metric: 'Spearman', values: of(`spearman ${method}`) })

    const counts = this.data.test.classes.map((_, c) => this.data.test.labels.filter((label) => label === c).length)
    const majority = (100 * Math.max(...counts)) / this.data.test.size
    // A net that guesses loses nothing by rounding: then no claim holds.
    const learned = at('fp32') > majority + 10
    claim({
      text: 'the net has learned its task: 10 points above the most frequent class (else nothing below says anything)',
      holds: learned,
      detail: `${at('fp32').toFixed(2)} % against ${majority.toFixed(2)} %`,
    })
    const better = (text: string, a: string, b: string): void =>
      claim({ text, holds: learned && at(a) > at(b), detail: `${at(a).toFixed(2)} % against ${at(b).toFixed(2)} %` })
    better(
      'mixed bits by the Hessian (largest eigenvalue, per encoder layer) beat uniform bits at equal bytes',
      assignments[0][0],
      'uniform',
    )
    better(
      'mixed bits by the Hessian (largest eigenvalue, per encoder layer) beat the reversed assignment',
      assignments[0][0],
      assignments[1][0],
    )
    better('mixed bits by the Hessian (trace, per weight) beat uniform bits at equal bytes', assignments[2][0], 'uniform')
    better('mixed bits by the Hessian (trace, per weight) beat the reversed assignment', assignments[2][0], assignments[3][0])
    better('the same with fine-tuning', `trained ${RATIO}x optimal`, `trained ${RATIO}x reversed`)
    const down = [...BITS].reverse()
    claim({
      text: 'group-wise scales beat layer-wise ones at every bit width (at 8 bits both are as good as fp32)',
      holds: learned && down.every((b) => at(`group ${b}`) > at(`tensor ${b}`) - (b === 8 ? 0.5 : 0)),
      detail: down.map((b) => `${b} bits ${at(`group ${b}`).toFixed(2)} against ${at(`tensor ${b}`).toFixed(2)} %`).join(', '),
    })
    claim({
      text: `the encoder ${RATIO} times smaller costs at most 2.3 % of the accuracy, fine-tuned`,
      holds: learned && at(`trained ${RATIO}x optimal`) >= at('fp32') * (1 - 0.023) && at('ratio') >= RATIO,
      detail: `${at('ratio').toFixed(2)}x: ${at(`trained ${RATIO}x optimal`).toFixed(2)} % against ${at('fp32').toFixed(2)} %`,
    })
  }
}

export const qbert = definePaper({
  name: 'qbert',
  title: 'Q-BERT: bits by the Hessian of each layer',
  source: 'Shen et al. 2020 (arXiv 1909.05840), sections 3.1 and 3.2, tables 1 to 3 and 5',
  setup:
    'The paper fine-tunes BERT-base at few bits on SST-2, MNLI, CoNLL and SQuAD. Here a transformer of the same shape (3 layers, width 96) learns from nothing what kind of word is missing ' +
    'between eight others (Brown corpus, five parts of speech); the matrices of its encoder are rounded, embeddings stay as they are.',
  run: async (run) => {
    const { quick, seeds, signal, say } = run
    const data = await missingWord({ train: quick ? 2000 : 16_000, test: quick ? 300 : 2000 })
    const probes = subset<TextDataset>(
      data.train,
      Array.from({ length: quick ? 40 : 200 }, (_, i) => i),
    )
    const experiment = new Experiment(run, data, probes)
    for (const seed of seeds) {
      say(`seed ${seed}: training`)
      const shape = { layers: quick ? 2 : 3, width: 96, heads: 4, tokens: 16, epochs: quick ? 2 : 4 }
      const model = await smallBert(data.train, shape, seed, signal)
      await experiment.seed(model)
      model.dispose()
    }
    experiment.report()
  },
})
