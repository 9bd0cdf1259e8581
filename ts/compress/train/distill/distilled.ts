/**
 * A training task with a teacher beside it: the loss of the task, plus what the student's answers and inner states differ from the teacher's (options.ts).
 * Works for any task, as it looks at what the task gives to `forward` and gets back.
 *
 * Contract: teachers are not changed and nothing flows into them. Everything follows from task, settings, options and teachers: a training that was
 * interrupted goes on with the same bits, learned projections and a teacher's recurrent state included. Where the terms weigh nothing the task itself comes
 * back. What is drawn for the projections comes from the seed of the settings.
 */
import { OptionError } from '../../../base/errors.js'
import type { Json, JsonObject } from '../../../base/json-types.js'
import type { Model, ModuleInput } from '../../../nn/index.js'
import { add, clip, exp, log, reshape, scaleShift, widened } from '../../../ops/index.js'
import { scope, tensor, type Tensor } from '../../../tensor/index.js'
import { modelHash } from '../../run/fingerprint.js'
import type { TrainSettings } from '../settings.js'
import type { BesideValue, CountedLoss, LossContext, Look, Prepared, TrainTask } from '../task.js'
import { TeacherCache } from './cache.js'
import { softTerm, squaredTerm, tempered, topTerm } from './logits.js'
import { conventions, distillSchema, idle, weightsOf, type Convention, type Distill, type DistillInput } from './options.js'
import { checkTeacher, runTeacher, teacherInput, type KeptOutputs } from './teacher.js'
import { bindTerm, type Pass, type Term } from './terms.js'

export interface DistilledOptions extends DistillInput {
  /** They are not changed, and must live as long as the task is used. */
  readonly teacher: Model | readonly Model[]
  /** Folder for teacher outputs that are kept; without it they are kept in memory. */
  readonly cacheDir?: string | undefined
  /** Most bytes of kept outputs; above that teachers are asked in every step. Default 256 MiB. */
  readonly cacheBytes?: number | undefined
}

/**
 * The task with a distillation loss: hard * loss + soft * logits term + the terms of `match`.
 *
 * - options out of range, a teacher for another task, with other classes or another vocabulary, layers that do not exist, widths or heads that do not
 *   suit: ERR_OPTION with a pointer; what can only be known from a batch is told before the first step
 *
 * @example
 * const task = distilled(classification(data, { validation }), { teacher, temperature: 4, alpha: 0.9 })
 * const { model } = await trainTask(student, task, { epochs: 5 })
 */
export function distilled<B>(task: TrainTask<B>, { teacher, cacheDir, cacheBytes, ...input }: DistilledOptions): TrainTask<B> {
  const parsed = distillSchema.safeParse(input)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!
    const pointer = `/${issue.path.join('/')}`
    throw new OptionError('ERR_OPTION', `distill: ${pointer}: ${issue.message}`, { details: { pointer } })
  }
  const teachers = Array.isArray(teacher) ? (teacher as readonly Model[]) : [teacher as Model]
  checkTeachers(parsed.data, teachers.length)
  if (idle(parsed.data)) return task
  return new Distillation(task, teachers, parsed.data, new TeacherCache(cacheDir, cacheBytes)).task()
}

function checkTeachers(o: Distill, count: number): void {
  const refuse = (pointer: string, why: string): never => {
    throw new OptionError('ERR_OPTION', `distill: ${pointer}: ${why}`, { details: { pointer } })
  }
  if (count === 0) refuse('/teacher', 'there is no teacher')
  if (o.teachers && o.teachers.length !== count) refuse('/teachers', `${o.teachers.length} weights for ${count} teachers`)
  o.match.forEach((term, i) => {
    if (term.teacher >= count) refuse(`/match/${i}/teacher`, `must be below ${count}, the number of teachers, got ${term.teacher}`)
  })
}

/** What can be known before anything runs; ERR_OPTION with a pointer. */
export function checkDistill(o: Distill, student: Model, teachers: readonly Model[]): void {
  checkTeachers(o, teachers.length)
  for (const teacher of teachers) checkTeacher(student, teacher)
  o.match.forEach((term, i) => void bindTerm(term, i, student, teachers[term.teacher]!))
}

/** What one training needs beside the task. */
interface Plan {
  readonly terms: readonly Term[]
  /** Paths of the student, and of each teacher, whose outputs are looked at. */
  readonly student: ReadonlySet<string>
  readonly teachers: readonly ReadonlySet<string>[]
  /** By teacher; undefined where it is asked in every step. */
  readonly kept: readonly (KeptOutputs | undefined)[]
  /** `own` of the task itself. */
  readonly inner: unknown
}

/** One pass of the student through a batch. */
interface StudentPass {
  readonly found: Tensor | CountedLoss
  readonly x: ModuleInput
  readonly y: Tensor
  readonly seen: ReadonlyMap<string, Tensor>
}

class Distillation<B> {
  readonly #how: Convention
  readonly #temperature: number
  readonly #shares: readonly number[]

  constructor(
    private readonly inner: TrainTask<B>,
    private readonly teachers: readonly Model[],
    private readonly options: Distill,
    private readonly cache: TeacherCache,
  ) {
    this.#how = conventions[options.convention]
    this.#temperature = options.temperature ?? this.#how.temperature
    const weights = options.teachers ?? teachers.map(() => 1)
    const all = weights.reduce((a, b) => a + b, 0)
    this.#shares = weights.map((w) => w / all)
  }

  task(): TrainTask<B> {
    const { inner, teachers, options } = this
    let facts: JsonObject | undefined
    const { kind, name, examples, goal, figures, bySample } = inner
    // Not `portable`: another thread cannot make it, as teachers do not travel.
    return {
      kind,
      name,
      examples,
      get options() {
        const asked = JSON.parse(JSON.stringify(options)) as JsonObject
        return (facts ??= { ...inner.options, distill: { ...asked, of: teachers.map((t): Json => modelHash(t)) } })
      },
      check: (model, settings) => {
        inner.check?.(model, settings)
        checkDistill(options, model, teachers)
      },
      prepare: (model, settings, breathe) => this.#prepare(model, settings, breathe),
      batches: (model, settings, from) => inner.batches(model, settings, from),
      count: (batch) => inner.count(batch),
      split: (batch, parts) => inner.split(batch, parts),
      loss: (context, batch) => this.#loss(context, batch),
      ...(inner.evaluate ? { evaluate: (model, breathe) => inner.evaluate!(model, breathe) } : {}),
      ...(goal ? { goal } : {}),
      ...(figures ? { figures } : {}),
      ...(bySample ? { bySample } : {}),
      ...(inner.restarts ? { restarts: (batch) => inner.restarts!(batch) } : {}),
      ...(inner.findBad ? { findBad: (batch, step) => inner.findBad!(batch, step) } : {}),
    }
  }

  /** The student's pass as the task wants it, with what the terms look at. */
  #student(context: LossContext, batch: B, plan: Plan): StudentPass {
    let x: ModuleInput | undefined
    let y: Tensor | undefined
    const seen = new Map<string, Tensor>()
    const mine: Look | undefined = plan.student.size > 0 ? (path, t) => void (plan.student.has(path) && seen.set(path, t)) : undefined
    const forward: LossContext['forward'] = (input, look) => {
      x = input
      y = context.forward(input, mine && look ? (path, t) => (mine(path, t), look(path, t)) : (mine ?? look))
      return y
    }
    const found = this.inner.loss({ ...context, forward, prepared: plan.inner }, batch)
    if (!x || !y) throw new OptionError('ERR_OPTION', `distill: the loss of task ${this.inner.kind} does not run the model`)
    return { found, x, y, seen }
  }

  /** What teacher `k` says to the same batch; outside of the tape, as its weights are no leaves. */
  #teacher(k: number, context: LossContext, batch: B, pass: StudentPass, plan: Plan): { y: Tensor; seen: ReadonlyMap<string, Tensor> } {
    const { bySample } = this.inner
    const teacher = this.teachers[k]!
    const seen = new Map<string, Tensor>()
    const indices = bySample?.indices(batch)
    const kept = plan.kept[k]
    if (kept && indices) return { y: rowsOf(kept, indices), seen }
    const wanted = plan.teachers[k]!
    const look: Look | undefined = wanted.size > 0 ? (path, t) => void (wanted.has(path) && seen.set(path, t)) : undefined
    const x = teacherInput(context.model, teacher, pass.x, indices && ((): ModuleInput => bySample!.input(teacher, indices)))
    return { y: runTeacher(teacher, k, x, context.carried, look), seen }
  }

  /** Teachers that this batch asks: those of the logits term, and those that a term looks at. */
  #asked(plan: Plan): boolean[] {
    const soft = weightsOf(this.options).soft > 0
    return this.teachers.map((_, k) => (soft && this.#shares[k]! > 0) || plan.teachers[k]!.size > 0)
  }

  #loss(context: LossContext, batch: B): Tensor | CountedLoss {
    const plan = context.prepared as Plan
    const pass = this.#student(context, batch, plan)
    const { found } = pass
    const { hard, soft } = weightsOf(this.options)
    const asked = this.#asked(plan)
    const answers = this.teachers.map((_, k) => (asked[k] ? this.#teacher(k, context, batch, pass, plan) : undefined))
    const mask = maskOf(pass.x)
    const parts: Tensor[] = []
    const own = 'count' in found ? found.loss : found
    if (hard > 0) parts.push(hard === 1 ? own : scaleShift(own, hard))
    if (soft > 0) {
      const rows = ('count' in found ? found.rows : undefined) ?? rowsOfMask(mask, pass.y)
      const term = this.#logits(
        context.model,
        pass.y,
        answers.map((a) => a?.y),
        rows,
      )
      parts.push(soft === 1 ? term : scaleShift(term, soft))
    }
    for (const term of plan.terms) {
      const cost = term.loss(this.#view(pass, answers[term.teacher]!.seen, mask), context.beside ?? new Map())
      parts.push(term.weight === 1 ? cost : scaleShift(cost, term.weight))
    }
    const loss = parts.map((p) => reshape(p, [])).reduce((a, b) => add(a, b))
    return 'count' in found ? { ...found, loss } : loss
  }

  #view(pass: StudentPass, theirs: ReadonlyMap<string, Tensor>, mask: Tensor | null): Pass {
    const look = (whose: string, seen: ReadonlyMap<string, Tensor>) => (path: string) => {
      const y = seen.get(path)
      if (!y)
        throw new OptionError('ERR_OPTION', `distill: /match: layer ${JSON.stringify(path)} of the ${whose} gave nothing: it was not run`, {
          details: { pointer: '/match' },
        })
      return widened(y)
    }
    return { student: look('student', pass.seen), teacher: look('teacher', theirs), mask }
  }

  /** The logits term of the student's output y. */
  #logits(student: Model, y: Tensor, answers: readonly (Tensor | undefined)[], rows: Float32Array | undefined): Tensor {
    const parts = answers.flatMap((v, k) => (v && this.#shares[k]! > 0 ? [{ v: widened(v), share: this.#shares[k]! }] : []))
    const mean = (f: (v: Tensor) => Tensor): Tensor =>
      parts.length === 1 ? f(parts[0]!.v) : parts.map(({ v, share }) => scaleShift(f(v), share)).reduce((a, b) => add(a, b))
    const numbers = student.info.task === 'regression' || student.info.task === 'embedding'
    if (numbers || this.options.logits === 'mse')
      return squaredTerm(
        y,
        mean((v) => v),
        rows,
      )
    const k = y.shape[y.rank - 1]!
    const flat = (v: Tensor): Tensor => reshape(v, [v.size / k, k])
    if (this.options.logits === 'top')
      return topTerm(
        y,
        reshape(
          mean((v) => exp(tempered(flat(v), 1))),
          y.shape,
        ),
        rows,
      )
    const t = this.#temperature
    const logq =
      parts.length === 1
        ? tempered(flat(parts[0]!.v), t)
        : log(
            clip(
              mean((v) => exp(tempered(flat(v), t))),
              1e-38,
              1,
            ),
          )
    return softTerm(flat(y), logq, this.#how, t, rows)
  }

  async #prepare(model: Model, settings: TrainSettings, breathe: () => Promise<void>): Promise<Prepared> {
    const { inner, options, teachers } = this
    const own = (await inner.prepare?.(model, settings, breathe)) ?? {}
    const terms = options.match.flatMap((term, i) => (term.weight > 0 ? [bindTerm(term, i, model, teachers[term.teacher]!)] : []))
    const draft: Plan = {
      terms,
      student: new Set(terms.flatMap((t) => t.sees.student)),
      teachers: teachers.map((_, k) => new Set(terms.flatMap((t) => (t.teacher === k ? t.sees.teacher : [])))),
      kept: teachers.map(() => undefined),
      inner: own.own,
    }
    const { beside, known } = await this.#probe(model, settings, draft, own.beside ?? new Map())
    const asked = this.#asked(draft)
    const kept: (KeptOutputs | undefined)[] = []
    for (const [k, teacher] of teachers.entries()) {
      const logitsOnly = asked[k] && draft.teachers[k]!.size === 0
      kept.push(options.cache === 'auto' && known && logitsOnly ? await this.cache.of(inner, teacher, breathe) : undefined)
    }
    return { beside, own: { ...draft, kept } satisfies Plan }
  }

  /** A first, small batch through all models: shapes that do not suit are told now, and sizes of projections are known. */
  async #probe(
    model: Model,
    settings: TrainSettings,
    plan: Plan,
    first: ReadonlyMap<string, BesideValue>,
  ): Promise<{ readonly beside: ReadonlyMap<string, BesideValue>; /** Samples are known by index. */ readonly known: boolean }> {
    const { inner } = this
    const source = inner.batches(model, settings, { epoch: 0, batch: 0 })
    try {
      const batch = await source.next()
      const part = inner.split(batch, inner.count(batch))[0]!
      return scope(() => {
        const beside = new Map([...first].map(([name, { shape, values }]): [string, Tensor] => [name, tensor(values.slice(), shape)]))
        const forward = (x: ModuleInput, look?: Look): Tensor => model.forward(x, look ? { output: look } : {})
        const context: LossContext = { forward, model, settings, step: 0, beside }
        const pass = this.#student(context, part, plan)
        const asked = this.#asked(plan)
        const answers = this.teachers.map((_, k) => (asked[k] ? this.#teacher(k, context, part, pass, plan) : undefined))
        answers.forEach((a, k) => {
          if (!a || a.y.sameShape(pass.y) || weightsOf(this.options).soft === 0) return
          const why = `${this.teachers[k]!.info.name} gives ${a.y} where ${model.info.name} gives ${pass.y}`
          throw new OptionError('ERR_OPTION', `distill: /teacher: ${why}`, { details: { pointer: '/teacher' } })
        })
        const all = new Map(first)
        for (const term of plan.terms)
          for (const [name, value] of term.beside(this.#view(pass, answers[term.teacher]!.seen, maskOf(pass.x)), settings.seed))
            all.set(name, value)
        return { beside: all, known: inner.bySample?.indices(part) !== undefined }
      })
    } finally {
      source.close?.()
    }
  }
}

/** The kept answers to some samples. */
function rowsOf({ values, width, shape }: KeptOutputs, indices: Uint32Array): Tensor {
  const out = new Float32Array(indices.length * width)
  indices.forEach((index, i) => out.set(values.subarray(index * width, (index + 1) * width), i * width))
  return tensor(out, [indices.length, ...shape])
}

/** `mask` [B, T] of named inputs: 1 for tokens, 0 for padding. */
function maskOf(x: ModuleInput): Tensor | null {
  const mask = 'handle' in x ? undefined : (x as Readonly<Record<string, Tensor | undefined>>).mask
  return mask?.rank === 2 && mask.dtype === 'f32' ? mask : null
}

/** Rows of scores [B, T, K] that are tokens. */
function rowsOfMask(mask: Tensor | null, y: Tensor): Float32Array | undefined {
  if (!mask || y.rank !== 3 || mask.shape[0] !== y.shape[0] || mask.shape[1] !== y.shape[1]) return undefined
  return mask.read() as Float32Array
}
