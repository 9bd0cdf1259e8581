/**
 * Optimizers over native in-place steps. An optimizer owns its slots (velocity, moments), one set per leaf, and changes leaves in place;
 * where a leaf's mask has a 0 the value stays exactly 0. Slots go in and out as plain data, so a step after `restore` gives the same
 * bits as one without interruption.
 */
import { z } from 'zod'
import type { RawTensor } from '../base/dtype.js'
import { CheckpointError, OptionError } from '../base/errors.js'
import { sameShape } from '../base/shape.js'
import { whereTensorLies } from '../native/device.js'
import { adamStep, adamwStep, assign, lambStep, rmspropStep, sgdStep } from '../ops/index.js'
import { fromRaw, keep, toRaw, zeros, type Tensor } from '../tensor/index.js'
import type { Group } from './groups.js'

const decay = z.number().nonnegative().finite().default(0)
const beta = z.number().min(0).lt(1)
const moments = {
  beta1: beta.default(0.9),
  beta2: beta.default(0.999),
}
const eps = z.number().positive().finite()

export const optimizerSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('sgd'),
    momentum: z.number().min(0).lt(1).default(0),
    nesterov: z.boolean().default(false),
    weightDecay: decay,
  }),
  /** Loshchilov, Hutter 2019: weight decay apart from the gradient. */
  z.strictObject({
    kind: z.literal('adamw'),
    beta1: z.number().min(0).lt(1).default(0.9),
    beta2: z.number().min(0).lt(1).default(0.999),
    eps: z.number().positive().finite().default(1e-8),
    weightDecay: decay,
  }),
  /** Kingma, Ba 2015: weight decay is part of the gradient (L2). */
  z.strictObject({ kind: z.literal('adam'), ...moments, eps: eps.default(1e-8), weightDecay: decay }),
  /** You et al. 2020, algorithm 2: each weight moves by lr phi(|w|), phi(z) = min(max(z, phiMin), phiMax). */
  z
    .strictObject({
      kind: z.literal('lamb'),
      ...moments,
      eps: eps.default(1e-6),
      weightDecay: decay,
      phiMin: z.number().nonnegative().finite().default(0),
      phiMax: z.number().positive().finite().default(10),
    })
    .refine((o) => o.phiMin <= o.phiMax, { error: 'must be at most phiMax', path: ['phiMin'] }),
  /** Tieleman, Hinton 2012; centered: Graves 2013. */
  z.strictObject({
    kind: z.literal('rmsprop'),
    alpha: beta.default(0.99),
    eps: eps.default(1e-8),
    momentum: beta.default(0),
    centered: z.boolean().default(false),
    weightDecay: decay,
  }),
])
export type OptimizerInput = z.input<typeof optimizerSchema>
export type OptimizerSpec = z.output<typeof optimizerSchema>

/** A trainable tensor: what optimizers need of a weight's leaf. */
export interface Parameter {
  readonly value: Tensor
  readonly mask: Tensor | null
}

interface Rule {
  readonly slots: readonly string[]
  /** Names of slots that the options do without; they are [0]. */
  readonly unused?: readonly string[]
  /** `step` counts from 1. */
  update(p: Parameter, g: Tensor, slots: readonly Tensor[], lr: number, step: number, weightDecay: number): void
}

function ruleOf(spec: OptimizerSpec): Rule {
  switch (spec.kind) {
    case 'sgd': {
      const { momentum, nesterov } = spec
      return {
        slots: ['velocity'],
        update: (p, g, [velocity], lr, _step, weightDecay) => {
          sgdStep(p.value, g, velocity!, p.mask, { lr, momentum, weightDecay, nesterov })
        },
      }
    }
    case 'adam':
    case 'adamw': {
      const { beta1, beta2, eps } = spec
      const change = spec.kind === 'adam' ? adamStep : adamwStep
      return {
        slots: ['m', 'v'],
        update: (p, g, [m, v], lr, step, weightDecay) => {
          change(p.value, g, m!, v!, p.mask, { lr, beta1, beta2, eps, weightDecay, step })
        },
      }
    }
    case 'lamb':
      return {
        slots: ['m', 'v'],
        update: (p, g, [m, v], lr, step, weightDecay) => {
          lambStep(p.value, g, m!, v!, p.mask, { ...spec, lr, weightDecay, step })
        },
      }
    case 'rmsprop':
      return {
        slots: ['square', 'mean', 'velocity'],
        unused: [...(spec.centered ? [] : ['mean']), ...(spec.momentum > 0 ? [] : ['velocity'])],
        update: (p, g, [square, mean, velocity], lr, _step, weightDecay) => {
          rmspropStep(p.value, g, { square: square!, mean: mean!, velocity: velocity! }, p.mask, { ...spec, lr, weightDecay })
        },
      }
  }
}

export class Optimizer {
  readonly spec: OptimizerSpec
  readonly #rule: Rule
  readonly #parameters: ReadonlyMap<string, Parameter>
  readonly #slots = new Map<string, readonly Tensor[]>()
  readonly #groupOf: (path: string) => Group
  #updates = 0

  /** Slots start at zero. The leaves stay the caller's. `groups`: weight decay and rates of some leaves (`parameterGroups`). */
  constructor(spec: OptimizerInput, parameters: ReadonlyMap<string, Parameter>, groups?: (path: string) => Group) {
    const parsed = optimizerSchema.safeParse(spec)
    if (!parsed.success) {
      const issue = parsed.error.issues[0]!
      throw new OptionError('ERR_OPTION', `optimizer: ${issue.path.join('.') || 'kind'}: ${issue.message}`, {
        details: { pointer: `/${issue.path.join('/')}` },
      })
    }
    this.spec = parsed.data
    this.#rule = ruleOf(parsed.data)
    this.#parameters = parameters
    this.#groupOf = groups ?? (() => ({}))
    const { slots, unused } = this.#rule
    for (const [path, { value }] of parameters)
      this.#slots.set(
        path,
        whereTensorLies(value, () => slots.map((name) => keep(zeros(unused?.includes(name) ? [0] : value.shape, value.dtype)))),
      )
  }

  /** Steps taken. */
  get updates(): number {
    return this.#updates
  }

  /** One step with gradients by leaf path (one for every leaf). Not atomic: check the gradients first. */
  step(grads: ReadonlyMap<string, Tensor>, lr: number): void {
    if (!Number.isFinite(lr) || lr < 0) throw new OptionError('ERR_OPTION', `optimizer: lr must be finite and >= 0, got ${lr}`)
    this.#updates++
    for (const [path, p] of this.#parameters) {
      const g = grads.get(path)
      if (!g) throw new OptionError('ERR_OPTION', `optimizer: no gradient for ${path}`)
      const { weightDecay = this.spec.weightDecay, lrScale = 1 } = this.#groupOf(path)
      this.#rule.update(p, g, this.#slots.get(path)!, lr * lrScale, this.#updates, weightDecay)
    }
  }

  /** Slots by "<leaf path>/<slot name>". */
  save(): Map<string, RawTensor> {
    const out = new Map<string, RawTensor>()
    for (const [path, slots] of this.#slots)
      slots.forEach((t, i) => {
        const name = this.#rule.slots[i]!
        if (!this.#rule.unused?.includes(name)) out.set(`${path}/${name}`, toRaw(t))
      })
    return out
  }

  /** Takes over saved slots; ERR_CHECKPOINT when they are not those of these leaves. Those of leaves that are `fresh` stay as they are. */
  restore(saved: ReadonlyMap<string, RawTensor>, updates: number, fresh: (path: string) => boolean = () => false): void {
    for (const [path, slots] of this.#slots)
      slots.forEach((t, i) => {
        if (fresh(path)) return
        if (this.#rule.unused?.includes(this.#rule.slots[i]!)) return
        const name = `${path}/${this.#rule.slots[i]!}`
        const raw = saved.get(name)
        if (!raw || raw.dtype !== t.dtype || !sameShape(raw.shape, t.shape))
          throw new CheckpointError(
            'ERR_CHECKPOINT',
            `optimizer: the saved state has ${raw ? `${raw.dtype}[${raw.shape}]` : 'nothing'} for ${name}, ${t} is needed`,
            {
              details: { reason: 'slots' },
            },
          )
        const value = whereTensorLies(t, () => fromRaw(raw))
        assign(t, value)
        value.dispose()
      })
    this.#updates = updates
  }

  dispose(): void {
    for (const slots of this.#slots.values()) for (const t of slots) t.dispose()
    this.#slots.clear()
  }
}
