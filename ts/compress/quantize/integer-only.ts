/**
 * A model whose layers have int8 weights and calibrated inputs, as a net of integers alone (Jacob et al., CVPR 2018, section 2): biases become i32 in units of S_w S_x,
 * batch norms part of the factors, ReLU a limit of the codes; from layer to layer go u8 codes, rescaled by fixed-point factors. Chains of linear layers, convolutions,
 * batch norms, ReLU, pools, flattening, and residual blocks.
 */
import { UnsupportedError } from '../../base/errors.js'
import {
  build,
  fixedPoint,
  gridOf,
  integerNet,
  join,
  Model,
  QuantizedWeight,
  run,
  SUM_BITS,
  type InputQuantization,
  type IntegerStep,
  type Module,
} from '../../nn/index.js'
import { amax, amin } from '../../ops/index.js'
import { full, scope, tensor, type Tensor } from '../../tensor/index.js'
import { valuesOf } from '../values.js'

export interface IntegerOnlyOptions {
  /** Inputs of the model; needed where a range is not known from the layers (before a mean, behind the last block). */
  readonly examples?: Tensor
}

type Limits = [number, number]

interface Item {
  readonly path: string
  readonly module: Module
}
/** Codes, or with `sums` i32 in units of their own per row. */
interface Value {
  readonly register: number
  readonly grid: InputQuantization
  /** What it stands for, where examples were given. */
  readonly shadow: Tensor | undefined
}
interface Sums {
  readonly register: number
  readonly layer: string
}
/** A product with what follows it: one step. */
interface Group {
  readonly item: Item
  readonly norm: Module | undefined
  readonly relu: number | undefined
  readonly end: number
}

const PASSING = new Set(['maxPool2d', 'flatten', 'dropout', 'activation'])
const BLOCKS: Readonly<Record<string, number>> = { basicBlock: 2, bottleneck: 3 }

/**
 * The model on integers: its `forward` rounds the input to codes, computes with integers and gives the last sums in their unit. What cannot be said in integers is
 * ERR_UNSUPPORTED with every such layer in `details.layers`. The model given is not changed.
 *
 * @example
 * const { model: quantized } = await compress(model, recipe([[quantize.static()]]), { data })
 * const integers = integerOnly(quantized, { examples: tensor(x, [32, 1, 28, 28]) })
 */
export function integerOnly(model: Model, options: IntegerOnlyOptions = {}): Model {
  const made = new Builder(model, options)
  const root = scope(() => made.build())
  return new Model(root, model.info, model.extras)
}

class Builder {
  readonly #steps: IntegerStep[] = []
  readonly #layers: Record<string, number[]> = {}
  readonly #weights = new Map<string, QuantizedWeight>()
  readonly #state = new Map<string, Int32Array>()
  readonly #problems = new Map<string, string>()
  #registers = 0

  constructor(
    private readonly model: Model,
    private readonly options: IntegerOnlyOptions,
  ) {}

  build(): Module {
    const items = chain(this.model.root, '')
    const grid = this.#need(items, 0)
    if (!grid && this.#problems.size === 0) this.#problem('', 'no layer has a quantized input')
    const first = grid ?? { scale: 1, zero: 0 }
    const start: Value = { register: this.#registers++, grid: first, shadow: this.options.examples }
    this.#steps.push({ op: 'quantize', to: start.register, scale: first.scale, zero: first.zero })
    this.#chain(items, start)
    if (this.#problems.size > 0) this.#refuse()
    return build(integerNet({ layers: this.#layers, steps: this.#steps }), {
      weight: (path) => this.#weights.get(path)!,
      state: (path, shape) => tensor(this.#state.get(path)!, shape),
    })
  }

  #refuse(): never {
    const layers = [...this.#problems].map(([path, why]) => ({ path, why }))
    throw new UnsupportedError(
      'ERR_UNSUPPORTED',
      `integerOnly: ${this.model.info.name} cannot run on integers alone: ${layers.map(({ path, why }) => `${path || 'the model'}: ${why}`).join('; ')}`,
      { details: { layers } },
    )
  }

  #problem(path: string, why: string): void {
    if (!this.#problems.has(path)) this.#problems.set(path, why)
  }

  /** The grid that the next product behind wants; undefined where a mean or the end comes first. */
  #need(items: readonly Item[], from: number): InputQuantization | undefined {
    for (const { module, path } of items.slice(from)) {
      if (module.kind === 'linear' || module.kind === 'conv2d') return inputOf(module)
      if (module.kind in BLOCKS) return inputOf(module.children.conv1!)
      if (!PASSING.has(module.kind)) {
        if (module.kind !== 'avgPool2d' && module.kind !== 'globalAvgPool' && module.kind !== 'batchNorm')
          this.#problem(path, `layers of kind ${module.kind} have no integer form here`)
        return undefined
      }
    }
    return undefined
  }

  #chain(items: readonly Item[], start: Value): void {
    let value = start
    for (let i = 0; i < items.length; i++) {
      const item = items[i]!
      const { module, path } = item
      const { kind } = module
      if (kind === 'linear' || kind === 'conv2d') {
        const group = groupAt(items, i)
        const shadow = this.#shadow(items.slice(i, group.end), value.shadow)
        const grid = this.#need(items, group.end)
        if (!grid && isEnd(items, group.end))
          return this.#last(
            group,
            value,
            items.slice(group.end).some((behind) => behind.module.kind === 'flatten'),
          )
        value = this.#codes(group, value, this.#limited(grid, shadow, group.item.path), shadow)
        i = group.end - 1
      } else if (kind in BLOCKS) {
        const shadow = this.#shadow([item], value.shadow)
        value = this.#block(item, value, this.#limited(this.#need(items, i + 1), shadow, path), shadow)
        if (isEnd(items, i + 1)) this.#problem(path, 'a block must be followed by a layer that multiplies')
      } else value = this.#passing(item, value)
    }
    this.#problem('', 'the last layer must be linear or a convolution')
  }

  /** The wanted grid, or one for the values seen. */
  #limited(grid: InputQuantization | undefined, shadow: Tensor | undefined, path: string): InputQuantization {
    if (grid) return grid
    if (!shadow) {
      this.#problem(path, 'the range of its output is not known: give examples')
      return { scale: 1, zero: 0 }
    }
    return gridOf(amin(shadow, [], false).item(), amax(shadow, [], false).item(), false, { qmin: 0, qmax: 255 })
  }

  #shadow(items: readonly Item[], x: Tensor | undefined): Tensor | undefined {
    return x && items.reduce((y, { module, path }) => run(module, y, { path, root: this.model.root, training: false, seed: 0, step: 0 }), x)
  }

  #passing(item: Item, value: Value): Value {
    const { module, path } = item
    const to = this.#registers++
    const from = value.register
    const next = { register: to, grid: value.grid, shadow: this.#shadow([item], value.shadow) }
    const { kernel, stride, padding, ceil } = module.config as unknown as { kernel: Limits; stride: Limits; padding: Limits; ceil: boolean }
    switch (module.kind) {
      case 'dropout':
        return value
      case 'flatten':
        this.#steps.push({ op: 'flatten', from, to })
        return next
      case 'activation': {
        const limit = reluOf(module)
        if (limit === undefined) this.#problem(path, `the activation ${module.config.function as string} has no integer form`)
        else this.#steps.push({ op: 'clamp', from, to, limits: limitsOf(value.grid, limit) })
        return next
      }
      case 'maxPool2d':
        if (ceil) this.#problem(path, 'pools that round sizes up have no integer form here')
        this.#steps.push({ op: 'max', from, to, window: { kernel, stride, padding } })
        return next
      case 'avgPool2d':
        if (ceil || padding.some((p) => p > 0)) this.#problem(path, 'means over padding have no integer form here')
        this.#steps.push({ op: 'mean', from, to, window: { kernel, stride, padding: [0, 0] } })
        return next
      case 'globalAvgPool':
        this.#steps.push({ op: 'mean', from, to })
        return next
      default:
        this.#problem(
          path,
          module.kind === 'batchNorm' ? 'does not follow a product' : `layers of kind ${module.kind} have no integer form here`,
        )
        return next
    }
  }

  #codes(group: Group, from: Value, grid: InputQuantization, shadow: Tensor | undefined): Value {
    const layer = this.#layer(group, from.grid, grid.scale)
    const to = this.#registers++
    this.#steps.push({
      op: 'product',
      from: from.register,
      to,
      layer,
      ...windowOf(group.item.module),
      xZero: from.grid.zero,
      yZero: grid.zero,
      limits: group.relu === undefined ? [...(grid.limits ?? [0, 255])] : limitsOf(grid, group.relu),
      to32: false,
    })
    return { register: to, grid, shadow }
  }

  /** i32 sums; `unit`: of the sum that they go into. */
  #sums(group: Group, from: Value, unit: number): Sums {
    const layer = this.#layer(group, from.grid, unit)
    const register = this.#registers++
    this.#steps.push({
      op: 'product',
      from: from.register,
      to: register,
      layer,
      ...windowOf(group.item.module),
      xZero: from.grid.zero,
      yZero: 0,
      limits: [0, 255],
      to32: true,
    })
    return { register, layer }
  }

  #last(group: Group, from: Value, flatten: boolean): void {
    if (group.relu !== undefined) this.#problem(group.item.path, 'an activation behind the last sums has no integer form here')
    const scales: number[] = []
    const layer = this.#layer(group, from.grid, 1, scales)
    const register = this.#registers++
    const product = { op: 'product', from: from.register, to: register, layer, ...windowOf(group.item.module) } as const
    this.#steps.push({ ...product, xZero: from.grid.zero, yZero: 0, limits: [0, 255], to32: true })
    this.#steps.push({ op: 'give', from: register, layer, scale: scales, ...(flatten ? { flatten } : {}) })
  }

  #block({ module, path }: Item, from: Value, grid: InputQuantization, shadow: Tensor | undefined): Value {
    const count = BLOCKS[module.kind]!
    const at = (name: string): Item => ({ path: join(path, name), module: module.children[name]! })
    let value = from
    const unit = grid.scale / 2 ** SUM_BITS
    for (let i = 1; i < count; i++) {
      const next = inputOf(module.children[`conv${i + 1}`]!)
      if (!next) this.#problem(join(path, `conv${i + 1}`), 'its input is not quantized')
      const group = { item: at(`conv${i}`), norm: module.children[`bn${i}`], relu: Infinity, end: 0 }
      value = this.#codes(group, value, next ?? { scale: 1, zero: 0 }, undefined)
    }
    const inner = this.#sums({ item: at(`conv${count}`), norm: module.children[`bn${count}`], relu: undefined, end: 0 }, value, unit)
    const parts: Extract<IntegerStep, { op: 'sum' }>['from'] = [{ sums: inner.register, layer: inner.layer }]
    const around = module.children.downsample
    if (around) {
      const item = { path: join(join(path, 'downsample'), '0'), module: around.children['0']! }
      const sums = this.#sums({ item, norm: around.children['1'], relu: undefined, end: 0 }, from, unit)
      parts.push({ sums: sums.register, layer: sums.layer })
    } else {
      if (module.config.shortcut === 'pad' && (module.config.in !== module.config.out || module.config.stride !== 1))
        this.#problem(path, 'padded shortcuts have no integer form here')
      parts.push({ codes: from.register, zero: from.grid.zero, factor: fixedPoint(from.grid.scale / unit) })
    }
    const to = this.#registers++
    this.#steps.push({ op: 'sum', from: parts, to, yZero: grid.zero, limits: limitsOf(grid, Infinity) })
    return { register: to, grid, shadow }
  }

  /** Codes, bias and factors of a product with its batch norm: row r of the sums counts `scale_r`, the result counts `unit`. */
  #layer({ item, norm }: Group, input: InputQuantization, unit: number, scales?: number[]): string {
    const { module, path } = item
    const name = `layer${this.#weights.size}`
    const w = module.weights.weight
    const wrong =
      !(w instanceof QuantizedWeight) || w.layout === 'group' || w.zero !== null
        ? 'its weight has no symmetric int8 codes per tensor or channel'
        : productProblem(module)
    if (wrong) {
      this.#problem(path, wrong)
      return name
    }
    const weight = w as QuantizedWeight
    if (!weight.input || weight.input === 'dynamic') this.#problem(path, 'its input is not quantized')
    const rows = weight.shape[0]!
    const vector = (m: Module, of: string, other: number): Float32Array =>
      m.weights[of] ? valuesOf(m.weights[of].dense()) : new Float32Array(rows).fill(other)
    const stored = weight.scale.read() as Float32Array
    const bias = vector(module, 'bias', 0)
    const [gamma, beta] = norm ? [vector(norm, 'gamma', 1), vector(norm, 'beta', 0)] : [undefined, undefined]
    const [mean, variance] = norm
      ? [norm.state.mean!.read() as Float32Array, norm.state.variance!.read() as Float32Array]
      : [undefined, undefined]
    const codes = Int8Array.from(weight.q.read() as Int8Array)
    const cols = codes.length / rows
    const [bias32, multiplier, exponent] = [new Int32Array(rows), new Int32Array(rows), new Int32Array(rows)]
    for (let r = 0; r < rows; r++) {
      const factor = norm ? gamma![r]! / Math.sqrt(variance![r]! + (norm.config.eps as number)) : 1
      const offset = norm ? (bias[r]! - mean![r]!) * factor + beta![r]! : bias[r]!
      const dead = Math.abs(factor) < 1e-12
      const sign = dead ? 0 : Math.sign(factor * stored[r % stored.length]!)
      if (sign !== 1) for (let i = r * cols; i < (r + 1) * cols; i++) codes[i] = Math.min(127, sign * codes[i]!)
      const scale = dead ? unit * 2 ** -10 : Math.abs(input.scale * stored[r % stored.length]! * factor)
      const whole = Math.round(offset / scale)
      if (Math.abs(whole) >= 2 ** 31) this.#problem(path, `the bias of row ${r} does not fit 32 bits`)
      bias32[r] = Math.max(1 - 2 ** 31, Math.min(2 ** 31 - 1, whole))
      const fixed = scales ? { multiplier: 0, exponent: 0 } : fixedPoint(Math.min(scale / unit, 2 ** 29))
      multiplier[r] = fixed.multiplier
      exponent[r] = fixed.exponent
      scales?.push(scale)
    }
    this.#layers[name] = [...weight.shape]
    // Scales stay with the codes for whoever looks at them; the steps do without.
    const parts = { q: tensor(codes, [rows, cols]), scale: full([weight.layout === 'tensor' ? 1 : rows, 1], 0) }
    parts.scale.write(weight.layout === 'tensor' ? stored : stored.map((s) => Math.abs(s)))
    this.#weights.set(name, new QuantizedWeight({ shape: weight.shape, bits: 8, layout: weight.layout, ...parts }))
    for (const [part, values] of Object.entries({ bias: bias32, multiplier, exponent })) this.#state.set(`${name}_${part}`, values)
    return name
  }
}

/** Layers in the order in which they run; sequences are opened. */
function chain(module: Module, path: string): Item[] {
  if (module.kind !== 'sequential') return [{ path, module }]
  return Object.entries(module.children).flatMap(([name, child]) => chain(child, join(path, name)))
}

const isEnd = (items: readonly Item[], from: number): boolean =>
  items.slice(from).every(({ module }) => module.kind === 'dropout' || module.kind === 'flatten')

/** The product at i, and the batch norm and the ReLU right behind it. */
function groupAt(items: readonly Item[], i: number): Group {
  let end = i + 1
  const norm = items[end]?.module.kind === 'batchNorm' ? items[end++]!.module : undefined
  const next = items[end]?.module
  const relu = next?.kind === 'activation' ? reluOf(next) : undefined
  if (relu !== undefined) end++
  return { item: items[i]!, norm, relu, end }
}

/** Largest value that passes: of ReLU none. undefined: another function. */
function reluOf(m: Module): number | undefined {
  return m.config.function === 'relu' ? Infinity : m.config.function === 'relu6' ? 6 : undefined
}

/** Codes that stand for [0, most]. */
function limitsOf({ scale, zero, limits = [0, 255] }: InputQuantization, most: number): Limits {
  return [Math.max(limits[0], zero), Math.min(limits[1], most === Infinity ? 255 : Math.round(most / scale) + zero)]
}

function inputOf(m: Module): InputQuantization | undefined {
  const w = m.weights.weight
  return w instanceof QuantizedWeight && w.input && w.input !== 'dynamic' ? w.input : undefined
}

function productProblem({ kind, config }: Module): string | undefined {
  if (kind === 'linear') return undefined
  if (kind !== 'conv2d') return `layers of kind ${kind} have no integer form here`
  const { padding } = config
  return Array.isArray(padding) && padding.every((p) => typeof p === 'number') ? undefined : 'padding must be the same on both sides'
}

type WindowOf = Pick<Extract<IntegerStep, { op: 'product' }>, 'window' | 'groups'>

function windowOf({ kind, config }: Module): WindowOf {
  if (kind !== 'conv2d') return {}
  const { kernel, stride, padding, dilation, groups } = config as unknown as Record<
    'kernel' | 'stride' | 'padding' | 'dilation',
    Limits
  > & {
    groups: number
  }
  const apart = dilation.some((d) => d !== 1) ? { dilation } : {}
  return { window: { kernel, stride, padding, ...apart }, ...(groups === 1 ? {} : { groups }) }
}
