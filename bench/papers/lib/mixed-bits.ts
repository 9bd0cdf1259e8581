/** What Q-BERT's reproductions share: layouts of scales, bits by the Hessian against uniform, reversed and random ones, for the matrices of an encoder. */
import { evaluateModel, metrics, sensitivity } from '../../../ts/analyze/index.js'
import type { Sensitivities, SensitivityMethod } from '../../../ts/analyze/sensitivity/index.js'
import { compress, gridQuantizer, quantize, recipe, train, type PassSpec } from '../../../ts/compress/index.js'
import type { TextDataset } from '../../../ts/data/index.js'
import type { Model, PlacedWeight } from '../../../ts/nn/index.js'
import { mean, type PaperRun, type Row } from './paper.js'
import { sampleDeviation } from './spread.js'

const BITS = [2, 3, 4, 8]
const LAYOUTS = { tensor: 'layer-wise (one range per matrix)', channel: 'row-wise', group: 'group-wise (32 values)' } as const
const grid = { mode: 'affine', layout: 'group', groupSize: 32, range: 'mse', scales: 'f16' } as const
/** Rows of 96 and 384 values: the scales of wide groups cost 0.19 bits a weight. */
const WIDE = 96
const RATIO = 13

/** The mean of three draws. */
const RANDOM = 'in random order, by weight'

type Found = Readonly<Partial<Record<SensitivityMethod, Sensitivities>>> & { readonly trace: Sensitivities }
type Layered = Pick<Sensitivities, 'groups'>
const assignments = [
  ['largest eigenvalue, by encoder layer', 'eigenvalue', 'optimal'],
  ['the same, reversed', 'eigenvalue', 'reversed'],
  ['trace (HAWQ-v2), by weight', 'trace', 'optimal'],
  ['the same reversed', 'trace', 'reversed'],
  [RANDOM, 'trace', 'random'],
  ['measured loss, by weight', 'direct', 'optimal'],
] as const

const bitsByPath = ({ groups }: Layered, bits: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(groups.flatMap((g) => g.paths.map((path) => [path, bits[g.name]!])))

/** One pass for each number of bits, for the weights that have it. */
function nearest(byPath: Readonly<Record<string, number>>): PassSpec[] {
  return [...new Set(Object.values(byPath))].map((bits) =>
    quantize.rtn({ ...grid, bits }, { targets: Object.keys(byPath).filter((path) => byPath[path] === bits) }),
  )
}

/** Mean cross-entropy of scores [n, classes]: finer than the count of right labels. */
function meanLoss(scores: Float32Array, labels: Int32Array): number {
  const classes = scores.length / labels.length
  return mean(
    Array.from(labels, (label, i) => {
      const row = scores.subarray(i * classes, (i + 1) * classes)
      const most = Math.max(...row)
      return most + Math.log(row.reduce((sum, v) => sum + Math.exp(v - most), 0)) - row[label]!
    }),
  )
}

export interface MixedBitsSetup {
  readonly run: PaperRun
  /** Where layers of the encoder are: "body.layer". */
  readonly prefix: string
  /** Random orders of which the mean is taken. */
  readonly draws: number
  /** Parts of the probes for eigenvalues. */
  readonly shards: number
  /** Random vectors for traces, at most. */
  readonly vectors: number
  /** Beside traces: bits for each encoder layer by its largest eigenvalue, and by the measured loss. */
  readonly thorough: boolean
  /** Of the budgets, halfway between 2 and 3 bits too. */
  readonly between: boolean
}

/** Of one seed. */
export interface MixedBitsData {
  /** What decides. */
  readonly test: TextDataset
  /** What sensitivities are measured on. */
  readonly probes: TextDataset
  /** What trains on with rounded weights; without: nothing does. */
  readonly again?: TextDataset
}

export class MixedBits {
  /** Values by name, one for each seed. */
  readonly #values = new Map<string, number[]>()

  readonly #targets: readonly string[]
  #data!: MixedBitsData

  constructor(private readonly setup: MixedBitsSetup) {
    this.#targets = [`${setup.prefix}*.*.weight`, `${setup.prefix}*.attention.*.weight`]
  }

  #encoder(model: Model): PlacedWeight[] {
    return model.weights().filter(({ path, role }) => path.startsWith(this.setup.prefix) && role === 'matrix')
  }

  #bytes(model: Model): number {
    return this.#encoder(model).reduce((n, { weight }) => n + weight.bytes(), 0)
  }

  #add(name: string, value: number): void {
    this.#values.set(name, [...(this.#values.get(name) ?? []), value])
  }

  /** Compresses, evaluates, keeps the accuracy. Gives the bytes of the encoder. */
  async #try(name: string, model: Model, passes: readonly PassSpec[], data = this.#data.probes): Promise<number> {
    const { signal, say } = this.setup.run
    const { test } = this.#data
    const { model: small } = await compress(model, recipe([passes], { seed: 1 }), { data, signal })
    const { accuracy: share, scores } = await evaluateModel(small, test, { latencyRuns: 1, signal })
    const [accuracy, loss] = [100 * share, meanLoss(scores, test.labels)]
    const bytes = this.#bytes(small)
    this.#add(name, accuracy)
    this.#add(`${name} loss`, loss)
    say(`${name}: ${accuracy.toFixed(2)} %, loss ${loss.toFixed(4)}, encoder ${(this.#bytes(model) / bytes).toFixed(2)}x smaller`)
    for (const [i, { weight }] of small.weights().entries()) if (weight !== model.weights()[i]!.weight) weight.dispose()
    return bytes
  }

  async seed(model: Model, data: MixedBitsData): Promise<void> {
    this.#data = data
    await this.#try('fp32', model, [quantize.rtn({}, { targets: this.#targets, ignore: ['**'] })])
    for (const layout of ['tensor', 'channel', 'group'] as const)
      for (const bits of BITS)
        await this.#try(`${layout} ${bits}`, model, [quantize.rtn({ ...grid, bits, layout, range: 'max' }, { targets: this.#targets })])
    const uniform = await this.#try('uniform', model, [quantize.rtn({ ...grid, bits: 3 }, { targets: this.#targets })])
    const two = await this.#try('uniform 2', model, [quantize.rtn({ ...grid, bits: 2 }, { targets: this.#targets })])
    const found = await this.#sensitivities(model)
    const draws = Array.from({ length: this.setup.draws }, (_, i) => i + 1)
    for (const budget of this.#budgets()) {
      const bytes = budget === '3' ? uniform : Math.round((two + uniform) / 2)
      for (const [name, method, rule] of this.#assignments())
        for (const seed of rule === 'random' ? draws : [1]) {
          const { bits } = sensitivity.assignBits(found[method]!, bytes, { rule, seed })
          const key = `${name}, ${budget}${rule === 'random' ? ` draw ${seed}` : ''}`
          await this.#try(key, model, nearest(bitsByPath(found[method]!, bits)))
        }
      for (const what of ['', ' loss'])
        this.#add(
          `${RANDOM}, ${budget}${what}`,
          mean(draws.map((draw) => this.#values.get(`${RANDOM}, ${budget} draw ${draw}${what}`)!.at(-1)!)),
        )
    }
    if (data.again) await this.#trained(model, found, data.again)
  }

  #assignments(): readonly (typeof assignments)[number][] {
    return assignments.filter(([, method]) => this.setup.thorough || method === 'trace')
  }

  #budgets(): readonly ('3' | '2.5')[] {
    return this.setup.between ? ['3', '2.5'] : ['3']
  }

  async #sensitivities(model: Model): Promise<Found> {
    const { run, shards, vectors, prefix } = this.setup
    const { signal, say } = run
    const measure = async (method: SensitivityMethod, groups: readonly string[]): Promise<Sensitivities> => {
      const stop = method === 'trace' ? { iterations: vectors, tolerance: 0.1 } : { iterations: 20, tolerance: 0.01 }
      const found = await sensitivity.sensitivities(model, this.#data.probes, {
        method,
        groups,
        ...stop,
        targets: this.#encoder(model),
        bits: BITS,
        quantize: gridQuantizer({ ...grid }),
        shards,
        batchSize: 32,
        signal,
      })
      say(`${method}: ${found.groups.map((g) => g.sensitivity.toPrecision(2)).join(' ')}`)
      return found
    }
    const layers = [`${prefix}*`]
    const costs = (s: Sensitivities): number[] => s.groups.flatMap((g) => g.choices.map((c) => c.cost))
    const trace = await measure('trace', [])
    if (!this.setup.thorough) return { trace }
    const direct = await measure('direct', [])
    this.#add('spearman trace', metrics.spearman(costs(trace), costs(direct)))
    const eigenvalue = await measure('eigenvalue', layers)
    this.#add('spearman eigenvalue', metrics.spearman(costs(eigenvalue), costs(await measure('direct', layers))))
    return { trace, eigenvalue, direct }
  }

  /** Trained on with rounded weights, as the paper does: 2 bits by layout, and mixed bits within a 13th of the bytes. */
  async #trained(model: Model, found: Found, again: TextDataset): Promise<void> {
    const retrain = train.rewindLearningRate({ epochs: 1 })
    const shared = { scheme: 'jacob', mode: 'affine', inputs: 'none', retrain } as const
    for (const layout of ['tensor', 'group'] as const)
      await this.#try(`trained ${layout} 2`, model, [quantize.qat({ ...shared, bits: 2, layout }, { targets: this.#targets })], again)
    const choices = await this.#wideChoices(model, found)
    for (const rule of ['optimal', 'reversed'] as const) {
      const { bits } = sensitivity.assignBits(choices, this.#bytes(model) / RATIO, { rule })
      const options = { ...shared, layout: 'group', groupSize: WIDE, weightBits: bitsByPath(choices, bits) } as const
      const bytes = await this.#try(`trained ${RATIO}x ${rule}`, model, [quantize.qat(options, { targets: this.#targets })], again)
      if (rule === 'optimal') this.#add('ratio', this.#bytes(model) / bytes)
    }
  }

  /** Bytes and distances with a scale for each 96 values. Scales of trained weights are stored as f32. */
  async #wideChoices(model: Model, found: Found): Promise<Layered> {
    const groups = sensitivity.weightGroups('qbert', model, this.#encoder(model), [])
    const round = gridQuantizer({ ...grid, groupSize: WIDE, scales: 'f32', range: 'max' })
    return {
      groups: await sensitivity.knownSensitivities('qbert', groups, BITS, sensitivity.knownFrom(found.trace), round, () =>
        Promise.resolve(),
      ),
    }
  }

  report(): void {
    const {
      run: { row, claim },
      between: more,
      thorough,
    } = this.setup
    const { test, again } = this.#data
    const of = (name: string): readonly number[] => this.#values.get(name)!
    const at = (name: string): number => mean(of(name))
    const both = (table: string, method: string, name: string, more: Partial<Row> = {}): void => {
      const shared = { table, method, n: test.size, ...more }
      row({ ...shared, metric: 'accuracy', unit: '%', values: of(name) })
      row({ ...shared, metric: 'loss', digits: 4, values: of(`${name} loss`) })
    }
    for (const [layout, method] of Object.entries(LAYOUTS))
      for (const bits of BITS)
        both('Uniform bits, rounded without training', method, `${layout} ${bits}`, { at: { name: 'bits', value: bits } })
    const equal = 'Mixed bits in the bytes of 3 bits everywhere, rounded without training'
    both(equal, 'fp32', 'fp32')
    both(equal, 'uniform 3 bits', 'uniform')
    for (const [name] of this.#assignments()) both(equal, name, `${name}, 3`)
    if (more) {
      const between = 'Mixed bits in the bytes halfway between 2 and 3 bits, rounded without training'
      both(between, 'uniform 2 bits (less bytes)', 'uniform 2')
      both(between, 'uniform 3 bits (more bytes)', 'uniform')
      for (const [name] of this.#assignments()) both(between, name, `${name}, 2.5`)
    }
    if (again) {
      const trained = 'Trained on with rounded weights (one epoch)'
      both(trained, 'fp32', 'fp32')
      both(trained, '2 bits, layer-wise', 'trained tensor 2')
      both(trained, '2 bits, group-wise (32 values)', 'trained group 2')
      both(trained, `mixed bits by trace, encoder ${RATIO}x smaller`, `trained ${RATIO}x optimal`)
      both(trained, 'the same bytes, reversed', `trained ${RATIO}x reversed`)
    }
    for (const method of thorough ? ['trace', 'eigenvalue'] : [])
      row({ table: 'Rank correlation with the measured rise of the loss', method, metric: 'Spearman', values: of(`spearman ${method}`) })

    const counts = test.classes.map((_, c) => test.labels.filter((label) => label === c).length)
    const majority = (100 * Math.max(...counts)) / test.size
    // A net that guesses loses nothing by rounding: then no claim holds.
    const learned = at('fp32') > majority + 10
    claim({
      text: 'the net has learned its task: 10 points above the most frequent class (else nothing below says anything)',
      holds: learned,
      detail: `${at('fp32').toFixed(2)} % against ${majority.toFixed(2)} %`,
    })
    /** By accuracy, as in the paper, and by the loss on the same examples; with the spread of the difference over the seeds. */
    const better = (text: string, a: string, b: string): void => {
      for (const [what, unit, digits, sign] of [
        ['', ' %', 2, 1],
        [' loss', '', 4, -1],
      ] as const) {
        const [one, other] = [of(a + what), of(b + what)]
        const differences = one.map((v, i) => v - other[i]!)
        const spread = `${mean(differences).toFixed(digits)} ± ${sampleDeviation(differences).toFixed(digits)}`
        claim({
          text: what === '' ? text : `${text}: by loss`,
          holds: learned && sign * mean(differences) > 0,
          within: Math.abs(mean(differences)) <= sampleDeviation(differences),
          detail: `${mean(one).toFixed(digits)}${unit} against ${mean(other).toFixed(digits)}${unit}; difference ${spread}`,
        })
      }
    }
    for (const [way, k] of [
      ['largest eigenvalue, per encoder layer', 0],
      ['trace, per weight', 2],
    ] as const) {
      if (!thorough && k === 0) continue
      const [best, worst] = [assignments[k][0], assignments[k + 1]![0]]
      better(`bytes of 3 bits: mixed bits by the Hessian (${way}) beat uniform bits`, `${best}, 3`, 'uniform')
      better(`bytes of 3 bits: mixed bits by the Hessian (${way}) beat the reversed assignment`, `${best}, 3`, `${worst}, 3`)
      better(`bytes of 3 bits: mixed bits by the Hessian (${way}) beat a random order by weight`, `${best}, 3`, `${RANDOM}, 3`)
      if (more)
        better(`bytes of 2.5 bits: mixed bits by the Hessian (${way}) beat the reversed assignment`, `${best}, 2.5`, `${worst}, 2.5`)
    }
    if (again)
      better(
        `${RATIO} times smaller, fine-tuned: mixed bits by the Hessian beat the reversed assignment`,
        `trained ${RATIO}x optimal`,
        `trained ${RATIO}x reversed`,
      )
    const down = [...BITS].reverse()
    claim({
      text: 'group-wise scales beat layer-wise ones at every bit width (at 8 bits both are as good as fp32)',
      holds: learned && down.every((b) => at(`group ${b}`) > at(`tensor ${b}`) - (b === 8 ? 0.5 : 0)),
      detail: down.map((b) => `${b} bits ${at(`group ${b}`).toFixed(2)} against ${at(`tensor ${b}`).toFixed(2)} %`).join(', '),
    })
    claim({
      text: 'the same by loss (at 8 bits within 0.005)',
      holds: learned && down.every((b) => at(`group ${b} loss`) < at(`tensor ${b} loss`) + (b === 8 ? 0.005 : 0)),
      detail: down.map((b) => `${b} bits ${at(`group ${b} loss`).toFixed(4)} against ${at(`tensor ${b} loss`).toFixed(4)}`).join(', '),
    })
    if (again)
      claim({
        text: `the encoder ${RATIO} times smaller costs at most 2.3 % of the accuracy, fine-tuned`,
        holds: learned && at(`trained ${RATIO}x optimal`) >= at('fp32') * (1 - 0.023) && at('ratio') >= RATIO,
        detail: `${at('ratio').toFixed(2)}x: ${at(`trained ${RATIO}x optimal`).toFixed(2)} % against ${at('fp32').toFixed(2)} %`,
      })
  }
}
