/** Q-BERT (Shen, Dong, Ye, Ma, Yao, Gholami, Mahoney, Keutzer, AAAI 2020): bits by the Hessian of each encoder layer, group-wise scales. */
import { evaluateModel, metrics, sensitivity } from '../../ts/analyze/index.js'
import type { Sensitivities, SensitivityMethod } from '../../ts/analyze/sensitivity/index.js'
import { compress, gridQuantizer, quantize, recipe, type PassSpec } from '../../ts/compress/index.js'
import { subset, type TextDataset } from '../../ts/data/index.js'
import type { Model, PlacedWeight } from '../../ts/nn/index.js'
import { definePaper, mean, type PaperRun, type Row } from './lib/paper.js'
import { mailData, smallBert, type MailData } from './lib/small-bert.js'

const ENCODER = ['body.layer*.*.weight', 'body.layer*.attention.*.weight']
const GROUP = 32
const BITS = [2, 3, 4, 8]
const RATIOS = [8, 10, 13]
const grid = { mode: 'affine', layout: 'group', groupSize: GROUP, range: 'mse', scales: 'f16' } as const
/** Points that are no difference: one test mail more or less. */
const NOISE = 0.2

type Found = Readonly<Record<SensitivityMethod, Sensitivities>>
const assignments = [
  ['eigenvalue by encoder layer', 'eigenvalue', 'optimal'],
  ['eigenvalue reversed', 'eigenvalue', 'reversed'],
  ['trace by weight', 'trace', 'optimal'],
  ['trace reversed', 'trace', 'reversed'],
  ['random by weight', 'trace', 'random'],
  ['measured loss by weight', 'direct', 'optimal'],
] as const

const encoderTargets = (model: Model): PlacedWeight[] =>
  model.weights().filter(({ path, role }) => path.startsWith('body.layer') && role === 'matrix')

const encoderBytes = (model: Model): number => encoderTargets(model).reduce((n, { weight }) => n + weight.bytes(), 0)

/** One pass for each number of bits, for the weights that have it. */
function passesFor<O>(
  { groups }: Pick<Sensitivities, 'groups'>,
  bits: Readonly<Record<string, number>>,
  optionsOf: (bits: number) => O,
  pass: (options: O, where: { targets: string[] }) => PassSpec,
): PassSpec[] {
  return [...new Set(Object.values(bits))].map((b) =>
    pass(optionsOf(b), { targets: groups.filter((g) => bits[g.name] === b).flatMap((g) => g.paths) }),
  )
}

/** Values by name and place, one for each seed. */
class Figures {
  readonly #values = new Map<string, number[]>()

  add(name: string, value: number): void {
    this.#values.set(name, [...(this.#values.get(name) ?? []), value])
  }

  of(name: string): number[] {
    return this.#values.get(name)!
  }
}

interface Point {
  readonly accuracy: number
  readonly bytes: number
  readonly model: Model
}

class Experiment {
  readonly #figures = new Figures()
  #accuracy = 0

  constructor(
    private readonly run: PaperRun,
    private readonly data: MailData,
    private readonly probes: TextDataset,
  ) {}

  async #accuracyOf(model: Model): Promise<number> {
    return 100 * (await evaluateModel(model, this.data.test, { latencyRuns: 1, signal: this.run.signal })).accuracy
  }

  async #with(model: Model, passes: readonly PassSpec[]): Promise<Point> {
    const { model: small } = await compress(model, recipe([passes]), { data: this.probes, signal: this.run.signal })
    return { accuracy: await this.#accuracyOf(small), bytes: encoderBytes(small), model: small }
  }

  async seed(model: Model): Promise<void> {
    this.#accuracy = await this.#accuracyOf(model)
    this.#figures.add('fp32', this.#accuracy)
    this.run.say(`fp32 ${this.#accuracy.toFixed(2)} %`)
    const uniform = await this.#layouts(model)
    const found = await this.#sensitivities(model)
    await this.#equalBytes(model, found, uniform)
    await this.#thirteen(model, found)
  }

  /** Uniform bits, scales for each matrix, each row, each group of 32 values. Gives the model of 3 bits in groups. */
  async #layouts(model: Model): Promise<Point> {
    for (const layout of ['tensor', 'channel', 'group'] as const)
      for (const bits of [8, 4, 3, 2]) {
        const pass = quantize.rtn({ bits, layout, mode: 'affine', groupSize: GROUP, scales: 'f16', range: 'max' }, { targets: ENCODER })
        const point = await this.#with(model, [pass])
        this.#figures.add(`${layout} ${bits}`, point.accuracy)
      }
    const three = await this.#with(model, [quantize.rtn({ ...grid, bits: 3 }, { targets: ENCODER })])
    this.#figures.add('uniform', three.accuracy)
    this.run.say(`uniform 3 bits ${three.accuracy.toFixed(2)} %`)
    return three
  }

  async #sensitivities(model: Model): Promise<Found> {
    const targets = encoderTargets(model)
    const measure = async (method: SensitivityMethod, groups: readonly string[]): Promise<Sensitivities> => {
      const found = await sensitivity.sensitivities(model, this.probes, {
        method,
        groups,
        targets,
        bits: BITS,
        quantize: gridQuantizer({ groupSize: GROUP }),
        iterations: method === 'trace' ? 24 : 20,
        tolerance: method === 'trace' ? 0.1 : 0.01,
        shards: this.run.quick ? 2 : 10,
        signal: this.run.signal,
      })
      this.run.say(`${method}: ${found.groups.map((g) => g.sensitivity.toPrecision(2)).join(' ')}`)
      return found
    }
    const layers = ['body.layer*']
    const all = { trace: await measure('trace', []), eigenvalue: await measure('eigenvalue', layers), direct: await measure('direct', []) }
    const costs = (s: Sensitivities): number[] => s.groups.flatMap((g) => g.choices.map((c) => c.cost))
    this.#figures.add('spearman trace', metrics.spearman(costs(all.trace), costs(all.direct)))
    const grouped = await measure('direct', layers)
    this.#figures.add('spearman eigenvalue', metrics.spearman(costs(all.eigenvalue), costs(grouped)))
    return all
  }

  /** Mixed bits within the bytes of 3 bits everywhere. */
  async #equalBytes(model: Model, found: Found, uniform: Point): Promise<void> {
    for (const [name, method, rule] of assignments) {
      const { bits } = sensitivity.assignBits(found[method], uniform.bytes, { rule, seed: 1 })
      const { accuracy, bytes } = await this.#with(
        model,
        passesFor(found[method], bits, (b) => ({ ...grid, bits: b }), quantize.rtn),
      )
      this.#figures.add(name, accuracy)
      this.run.say(`${name}: ${accuracy.toFixed(2)} % in ${(bytes / uniform.bytes).toFixed(3)} of the bytes`)
    }
  }

  /** The encoder 8, 10 and 13 times smaller. */
  async #thirteen(model: Model, found: Found): Promise<void> {
    const encoder = encoderBytes(model)
    const wide = { ...grid, groupSize: 96 }
    const groups = sensitivity.weightGroups('qbert', model, encoderTargets(model), [])
    const known = sensitivity.knownFrom(found.trace)
    const breathe = (): Promise<void> => Promise.resolve()
    const choices = await sensitivity.knownSensitivities('qbert', groups, BITS, known, gridQuantizer({ groupSize: 96 }), breathe)
    for (const ratio of RATIOS) {
      const { bits } = sensitivity.assignBits({ groups: choices }, encoder / ratio)
      const { accuracy, bytes } = await this.#with(
        model,
        passesFor({ groups: choices }, bits, (b) => ({ ...wide, range: 'output', bits: b }), quantize.gptq),
      )
      this.#figures.add(`${ratio}x`, accuracy)
      this.#figures.add(`${ratio}x ratio`, encoder / bytes)
      this.run.say(`encoder ${(encoder / bytes).toFixed(1)}x smaller: ${accuracy.toFixed(2)} %`)
    }
  }

  report(): void {
    const { row, claim } = this.run
    const n = this.data.test.size
    const figures = this.#figures
    const fp32 = mean(figures.of('fp32'))
    const accuracy = (table: string, method: string, name: string, more: Partial<Row> = {}): void =>
      row({ table, method, metric: 'accuracy', unit: '%', values: figures.of(name), n, ...more })
    const layouts = { tensor: 'layer-wise (one range per matrix)', channel: 'row-wise', group: `group-wise (${GROUP} values)` }
    const bitsTable = 'Uniform bits, rounded without training'
    for (const [layout, method] of Object.entries(layouts))
      for (const bits of [2, 3, 4, 8]) accuracy(bitsTable, method, `${layout} ${bits}`, { at: { name: 'bits', value: bits } })
    const equal = 'Mixed bits in the bytes of 3 bits everywhere'
    accuracy(equal, 'fp32', 'fp32')
    accuracy(equal, 'uniform 3 bits', 'uniform')
    for (const [name] of assignments) accuracy(equal, name, name)
    for (const ratio of RATIOS)
      accuracy('Encoder this much smaller (mixed bits by trace, GPTQ codes)', 'mixed', `${ratio}x`, { at: { name: 'ratio', value: ratio } })
    for (const method of ['trace', 'eigenvalue'])
      row({
        table: 'Rank correlation with the measured rise of the loss',
        method,
        metric: 'Spearman',
        values: figures.of(`spearman ${method}`),
      })

    const at = (name: string): number => mean(figures.of(name))
    const compared = (a: string, b: string): string => `${at(a).toFixed(2)} % against ${at(b).toFixed(2)} %`
    const claims: readonly (readonly [text: string, a: string, b: string])[] = [
      [
        'mixed bits by the Hessian (per encoder layer) are better than uniform bits at equal bytes',
        'eigenvalue by encoder layer',
        'uniform',
      ],
      [
        'mixed bits by the Hessian (per encoder layer) are better than the reversed assignment',
        'eigenvalue by encoder layer',
        'eigenvalue reversed',
      ],
      ['mixed bits by the Hessian (HAWQ-v2, per weight) are better than uniform bits at equal bytes', 'trace by weight', 'uniform'],
      ['mixed bits by the Hessian (HAWQ-v2, per weight) are better than the reversed assignment', 'trace by weight', 'trace reversed'],
    ]
    for (const [text, a, b] of claims) claim({ text, holds: at(a) > at(b), detail: compared(a, b) })
    const bits = [...BITS].reverse()
    claim({
      text: 'group-wise scales are at least as good as layer-wise ones at every bit width',
      holds: bits.every((b) => at(`group ${b}`) >= at(`tensor ${b}`) - NOISE),
      detail: bits.map((b) => `${b} bits: ${compared(`group ${b}`, `tensor ${b}`)}`).join('; '),
    })
    claim({
      text: 'the encoder 13 times smaller costs at most 2.3 points (the paper fine-tunes at these bits; here nothing is trained)',
      holds: fp32 - at('13x') <= 2.3 && at('13x ratio') >= 12.95,
      detail: `${at('13x ratio').toFixed(2)}x, ${at('13x').toFixed(2)} % against ${fp32.toFixed(2)} %`,
    })
  }
}

export const qbert = definePaper({
  name: 'qbert',
  title: 'Q-BERT: bits by the Hessian of each layer',
  source: 'Shen et al. 2020 (arXiv 1909.05840), sections 3.1 and 3.2, tables 1 to 3 and 5',
  setup:
    'The paper rounds BERT-base and fine-tunes it at few bits on SST-2, MNLI, CoNLL and SQuAD. Here a transformer of the same shape (4 layers, width 96, 0.8 M parameters) is trained on mails ' +
    '(SpamAssassin), its encoder matrices are rounded without training; embeddings stay as they are.',
  run: async (run) => {
    const data = await mailData(run.quick ? 300 : 1000, run.quick ? 200 : 600)
    const probes = subset<TextDataset>(
      data.train,
      Array.from({ length: run.quick ? 40 : 200 }, (_, i) => i),
    )
    const experiment = new Experiment(run, data, probes)
    for (const seed of run.seeds) {
      const shape = { layers: run.quick ? 2 : 4, width: 96, heads: 4, tokens: 48, epochs: run.quick ? 2 : 4 }
      const model = await smallBert(data.train, shape, seed, run.signal)
      await experiment.seed(model)
      model.dispose()
    }
    experiment.report()
  },
})
