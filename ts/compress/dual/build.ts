/**
 * Dual-module inference (Liu et al., ICML 2020): linear, LSTM and GRU layers, and convolutions where asked, get a little twin, fitted to their pre-activations, quantized, with the rule that says
 * which outputs it may answer. The weights themselves do not change; a recurrent layer whose input weight is no target computes its input part exactly.
 *
 * Trains on nothing: one sweep over the data (or the run's `task`) for second moments and some rows to tune thresholds on.
 */
import { z } from 'zod'
import type { JsonObject } from '../../base/json-types.js'
import { batchInputs, evaluationBatches } from '../../models/inputs.js'
import { CarriedState } from '../../models/language.js'
import {
  DenseWeight,
  DualWeight,
  MaskedWeight,
  QuantizedWeight,
  moduleKind,
  type DualRule,
  type Model,
  type ModuleInput,
  type Weight,
} from '../../nn/index.js'
import { add, linear, permute, quantizeRows, reshape, sigmoid, slice, mul, sub } from '../../ops/index.js'
import { keep, scope, tensor, type Tensor } from '../../tensor/index.js'
import { definePass, type PassContext } from '../pass.js'
import { trainSettingsSchema } from '../train/settings.js'
import { fitTwin, storeTwin, type Block } from './fit.js'
import { addRows, emptyMoments, recurrentRows, type Moments } from './moments.js'
import { colsOf, followedBy, jobsOf, type Job } from './jobs.js'
import { answeredRatios } from './ratios.js'
import { projectionSize, tuneThresholds, upperQuantile, type GatePredictions } from './rule.js'

const NAME = 'dual/build'

const options = z.strictObject({
  /** Distortion that the projection may have; smaller sees more numbers. */
  epsilon: z.number().gt(0).lt(1).default(0.5),
  /** Numbers that a twin sees; without: by `epsilon`, at most half of the inputs. */
  k: z.int().positive().optional(),
  /** 'none': the twin is the layer itself in few bits and sees the input (SeerNet, Cao et al., CVPR 2019). */
  projection: z.enum(['ternary', 'none']).default('ternary'),
  /** Bits of the twin. */
  bits: z.union([z.literal(2), z.literal(4), z.literal(8), z.literal(16), z.literal(32)]).default(4),
  rule: z.enum(['top-k', 'fixed', 'adaptive']).default('top-k'),
  /** Of 'adaptive'. */
  bound: z.enum(['paper', 'safe', 'strict']).default('paper'),
  /** Share of the outputs that the twin answers: exactly ('top-k'), or on the data that was seen. */
  ratio: z.number().min(0).max(1).default(0.5),
  /** Weights of the exact part. */
  big: z.enum(['keep', 'int8']).default('keep'),
  /** Where the descent begins. */
  init: z.enum(['ridge', 'random']).default('ridge'),
  /** Of ridge, as a share of the mean second moment. */
  damping: z.number().positive().max(10).default(1e-4),
  /** Convolutions too: as linear layers of their patches, which touches fewer weights and takes more time (kernels of this machine are bound by arithmetic there). */
  convolutions: z.boolean().optional(),
  /** Steps of gradient descent on the moments. */
  steps: z.int().min(0).max(100_000).default(20),
  /** Examples, or tokens of a task, that are looked at. */
  samples: z.int().positive().max(1e7).default(4096),
})
type Options = z.output<typeof options>
type Context = PassContext<Options>

export const dual = definePass({
  name: NAME,
  version: 1,
  summary: 'little twins that predict which outputs of a layer need its exact weights',
  options,
  needs: () => ({ training: true }),
  roles: ['matrix', 'kernel'],
  plan: (model, o, { targets }) => ({
    twins: jobsOf(model, targets, asked(o))
      .jobs.filter((job) => followedBy(model, job) !== undefined)
      .map((job) => ({ layer: job.layer, outputs: job.outputs, k: sizeOf(job, o) })),
  }),
  apply: async (model, context) => {
    const { jobs, left } = jobsOf(model, context.targets, asked(context.options))
    for (const [path, reason] of left) context.note(`left alone: ${reason}`, path)
    const moments = await sweep(model, jobs, context)
    const changed = new Map<string, Weight>()
    const figures: { [path: string]: JsonObject } = {}
    try {
      for (const [done, job] of jobs.entries()) {
        await context.breathe()
        const seen = moments.get(job)
        const side = followedBy(model, job)
        if (!side) context.note('left alone: no ReLU, sigmoid or tanh follows', job.layer)
        else if (!seen || seen.count === 0) context.note('left alone: no example reached this layer', job.layer)
        else figures[job.key] = await twin(job, side, seen, context, changed)
        context.progress(NAME, done + 1, jobs.length)
      }
      context.figure('twins', figures)
      if (changed.size === 0) return model
      const made = model.withWeights(changed)
      context.figure('ratios', await answeredRatios(made, context))
      return made
    } catch (error) {
      for (const w of changed.values()) w.dispose()
      throw error
    }
  },
})

const asked = ({ convolutions = false }: Options): { readonly convolutions: boolean } => ({ convolutions })

function sizeOf({ outputs, parts }: Job, o: Options): number {
  const cols = Math.min(...parts.map(({ weight }) => colsOf(weight)))
  if (o.projection === 'none') return cols
  return Math.min(cols, o.k ?? Math.min(projectionSize(outputs, o.epsilon), Math.max(1, cols >> 1)))
}

/** [1, K, n] as rows. */
const transposed = (columns: Tensor): Tensor => permute(reshape(columns, columns.shape.slice(1)), [1, 0])

/** Runs the data through the model. Tasks carry their state as they do in training. */
async function sweep(model: Model, jobs: readonly Job[], context: Context): Promise<Map<Job, Moments>> {
  const found = new Map<Job, Moments>()
  const rowsOf = (job: Job, u: Tensor): void => {
    const m = found.get(job) ?? emptyMoments(u.shape[1]!)
    found.set(job, m)
    addRows(m, u, job.layer)
  }
  const layers = new Map<string, Job[]>()
  for (const job of jobs) layers.set(job.layer, [...(layers.get(job.layer) ?? []), job])
  const observe = (path: string, input: Tensor): void => {
    const here = layers.get(path)
    if (!here) return
    scope(() => {
      const { module } = here[0]!
      const { columns } = moduleKind(module.kind)
      if (module.kind === 'conv2d') return rowsOf(here[0]!, transposed(columns!(module.config, input)))
      if (module.kind === 'linear') return rowsOf(here[0]!, reshape(input, [input.size / input.shape.at(-1)!, input.shape.at(-1)!]))
      recurrentRows(module, input, (suffix, rows) => {
        const job = here.find((j) => j.suffix === suffix)
        if (job) rowsOf(job, rows)
      })
    })
  }
  const { task, data, options: o, breathe } = context
  let seen = 0
  if (!task) {
    for (const indices of evaluationBatches(model, data!, 32)) {
      await breathe()
      scope(() => void model.forward(batchInputs(model, data!, indices).x, { observe }))
      if ((seen += indices.length) >= o.samples) break
    }
    return found
  }
  const settings = trainSettingsSchema.parse({ epochs: 1, batchSize: 16 })
  task.check?.(model, settings)
  const source = task.batches(model, settings, { epoch: 0, batch: 0 })
  // Batches of other tasks do not go on from one another.
  const state = task.restarts && new CarriedState()
  try {
    for (let i = 0; i < source.batchesPerEpoch && seen < o.samples; i++) {
      await breathe()
      const batch = await source.next()
      if (task.restarts?.(batch)) state?.reset()
      scope(() => {
        const forward = (x: ModuleInput): Tensor => model.forward(x, { observe, ...(state ? { carried: state.map } : {}) })
        task.loss({ forward, model, settings, step: i }, batch)
        state?.detach()
      })
      seen += task.count(batch)
    }
  } finally {
    state?.dispose()
    source.close?.()
  }
  return found
}

/** Fits, stores and tunes the twin of one job; the new weights go into `changed`. */
async function twin(
  job: Job,
  side: DualWeight['side'],
  seen: Moments,
  context: Context,
  changed: Map<string, Weight>,
): Promise<JsonObject> {
  const { options: o, breathe } = context
  const k = sizeOf(job, o)
  const { parts, outputs } = job
  const seed = context.rng(job.key).int(2 ** 31)
  const blocks: Block[] = parts.map(({ weight }, i) => ({ cols: colsOf(weight), seed, stream: i }))
  const w = scope(() => joined(parts))
  try {
    const ternary = o.projection === 'ternary'
    if (!ternary && parts.some(({ weight }) => colsOf(weight) !== k)) {
      context.note('left alone: without a projection the input must be as wide as the state', job.layer)
      return {}
    }
    // With an exact input part the twin sees h alone, the last columns.
    const width = w.shape[1]!
    const [skip, all] = [seen.width - width, seen.width]
    const products = columnsOf(seen.products.subarray(skip * all), width, all, skip, width)
    const fit = ternary
      ? await fitTwin(w, products, seen.count, blocks, { ...o, k, rng: context.rng(job.key, 'init'), breathe })
      : { values: w.read() as Float32Array, moments: products.map((v) => v / seen.count), begin: 0, end: 0 }
    const made: DualWeight[] = []
    try {
      for (const [i, { weight }] of parts.entries()) {
        const size = parts.length * k
        const own = columnsOf(fit.values, outputs, size, i * k, k)
        const moments = columnsOf(fit.moments.subarray(i * k * size, (i + 1) * k * size), k, size, i * k, k)
        const little = await storeTwin(own, outputs, k, o.bits, moments, 1, breathe)
        const projection = ternary ? { seed, stream: i } : null
        const big = scope(() => keep(bigOf(weight, o)))
        made.push(new DualWeight({ big, little, k, copies: o.bits === 16 ? 2 : 1, projection, side, choice: { rule: 'top-k', ratio: 1 } }))
      }
      const tuned = scope(() => tune(job, made, w, seen, side, o))
      for (const [i, { path }] of parts.entries())
        changed.set(
          path,
          scope(() => keep(made[i]!.withChoice(tuned.choice))),
        )
      return { outputs, k, bits: o.bits, rule: o.rule, fitted: fit.end, descent: fit.begin - fit.end, ...tuned.figures }
    } finally {
      for (const m of made) m.dispose()
    }
  } finally {
    w.dispose()
  }
}

/** [N, sum of columns]: the values of all parts side by side. */
function joined(parts: Job['parts']): Tensor {
  const rows = parts[0]!.weight.shape[0]!
  const cols = parts.map(({ weight }) => colsOf(weight))
  const size = cols.reduce((a, b) => a + b, 0)
  const out = new Float32Array(rows * size)
  let at = 0
  parts.forEach(({ weight }, i) => {
    const values = weight.dense().read() as Float32Array
    for (let r = 0; r < rows; r++) out.set(values.subarray(r * cols[i]!, (r + 1) * cols[i]!), r * size + at)
    at += cols[i]!
  })
  return tensor(out, [rows, size])
}

function columnsOf(values: Float32Array, rows: number, width: number, from: number, count: number): Float32Array {
  const out = new Float32Array(rows * count)
  for (let r = 0; r < rows; r++) out.set(values.subarray(r * width + from, r * width + from + count), r * count)
  return out
}

/** The exact part: as it is, or rounded to 8 bits per row. Shares nothing with `weight`. */
function bigOf(weight: Weight, { big }: Options): Weight {
  if (weight instanceof QuantizedWeight) {
    const { shape, bits, layout, scaleDtype, coding } = weight
    return new QuantizedWeight({ shape, bits, layout, scaleDtype, coding, q: weight.q.alias(), scale: weight.scale.alias() })
  }
  if (big === 'keep')
    return weight instanceof MaskedWeight
      ? new MaskedWeight(weight.value.alias(), weight.mask.alias())
      : new DenseWeight(weight.dense().alias())
  const [rows, cols] = [weight.shape[0]!, colsOf(weight)]
  const values = weight.dense().read() as Float32Array
  const scale = Float32Array.from(
    { length: rows },
    (_, r) => values.subarray(r * cols, (r + 1) * cols).reduce((m, v) => Math.max(m, Math.abs(v)), 0) / 127 || 1,
  )
  const steps = tensor(scale, [rows, 1])
  return new QuantizedWeight({
    shape: weight.shape,
    bits: 8,
    layout: 'channel',
    q: quantizeRows(reshape(weight.dense(), [rows, cols]), steps, null, -127, 127),
    scale: steps,
  })
}

/** Thresholds, and how far the twin is off, on the rows that were kept. */
function tune(
  job: Job,
  twins: readonly DualWeight[],
  w: Tensor,
  seen: Moments,
  side: DualWeight['side'],
  o: Options,
): { choice: DualRule; figures: JsonObject } {
  const rows = tensor(Float32Array.from(seen.rows.flatMap((r) => [...r])), [seen.rows.length, seen.width])
  // An exact input part: in the prediction, not in the error.
  const skip = seen.width - w.shape[1]!
  const cut = (begin: number, count: number): Tensor => slice(rows, [0, begin], [rows.shape[0]!, count])
  let from = skip
  const predicted = twins.map((t) => {
    const cols = colsOf(t)
    const y = t.apply(cut(from, cols), { op: 'linear', bias: null })
    from += cols
    return y
  })
  const y = predicted.length === 2 ? add(predicted[0]!, predicted[1]!) : predicted[0]!
  const exact = new DenseWeight(w).apply(cut(skip, w.shape[1]!), { op: 'linear', bias: null })
  const errors = sub(y, exact).read() as Float32Array
  const delta = errors.reduce((s, e) => s + Math.abs(e), 0) / errors.length
  const mse = errors.reduce((s, e) => s + e * e, 0) / errors.length
  const figures = { error: mse, delta, rows: seen.rows.length }
  if (o.rule === 'top-k') return { choice: { rule: 'top-k', ratio: o.ratio }, figures }
  const input = skip > 0 ? linear(cut(0, skip), job.module.weights[`weight_ih${job.suffix}`]!.dense(), job.bias()) : job.bias()
  const gates = predictions(job, add(y, input), predicted.at(-1)!)
  if (side === 'below') {
    const values = gates[0]!.magnitudes.map((v) => -v)
    const threshold = -upperQuantile(values, o.ratio)
    return { choice: { rule: 'threshold', thresholds: [Number.isFinite(threshold) ? threshold : -1e30] }, figures }
  }
  const thresholds = tuneThresholds(gates, o.ratio, o.rule === 'adaptive' ? { bound: o.bound, delta: Math.max(delta, 1e-12) } : undefined)
  return {
    choice: { rule: 'threshold', thresholds: thresholds.map((t) => Math.min(t, 1e30)) },
    figures: { ...figures, thresholds: thresholds.map((t) => Math.min(t, 1e30)) },
  }
}

/** |y| by gate; for the ReLU rule y itself. The candidate of a GRU has its recurrent part behind the reset gate. */
function predictions(job: Job, y: Tensor, recurrent: Tensor): GatePredictions[] {
  const abs = (t: Tensor): Float32Array => (t.read() as Float32Array).map(Math.abs)
  if (job.units === 0) return [{ squash: 'tanh', magnitudes: y.read() as Float32Array }]
  const gate = (t: Tensor, q: number): Tensor => slice(t, [0, q * job.units], [t.shape[0]!, job.units])
  const candidate = (): Tensor => sub(gate(y, 2), mul(sub(tensor([1]), sigmoid(gate(y, 0))), gate(recurrent, 2)))
  return job.cell === 'lstm'
    ? [0, 1, 2, 3].map((q) => ({ squash: q === 2 ? 'tanh' : 'sigmoid', magnitudes: abs(gate(y, q)) }) as const)
    : [0, 1, 2].map((q) => ({ squash: q === 2 ? 'tanh' : 'sigmoid', magnitudes: abs(q === 2 ? candidate() : gate(y, q)) }) as const)
}
