/**
 * Binary weights (Rastegari, Ordonez, Redmon, Farhadi 2016, "XNOR-Net", section 3.1): w ~ alpha b, b = sign(w), one alpha for each row (output). With `input: 'sign'` the layer's
 * input is binary too (section 3.2): sign(x) times the mean of |x|, of the row of a linear layer, or over the window of each output of a convolution (K in the paper).
 *
 * In memory and in a file: b as bits (1: plus), a row after the other, one bit a weight; alpha f32 [rows]. Products expand the signs for each call; a session does it once.
 * Training goes through the signs of inputs straight (where |x| <= 1); the weights stay as they are.
 */
import { z } from 'zod'
import type { RawTensor } from '../../base/dtype.js'
import { ModelFormatError, OptionError, ShapeError } from '../../base/errors.js'
import type { Json } from '../../base/json-types.js'
import { sizeOf, type Shape } from '../../base/shape.js'
import { abs, add, gather, maskUnpack, mean, mul, reshape, scaleShift, signSte } from '../../ops/index.js'
import { fromRaw, full, scope, toRaw, type Tensor } from '../../tensor/index.js'
import { applyDense } from './apply.js'
import { checkPartShape } from './dense.js'
import { checkPartNames, matrixShape, parseWeightConfig, partOf, withTemporary } from './parts.js'
import { defineWeightKind, type Leaf, type Weight, type WeightUse } from './weight.js'

export interface BinaryParts {
  readonly shape: Shape
  /** u8 [ceil(size / 8)]: 1 for plus; the bits behind the last are 0. */
  readonly bits: Tensor
  /** f32 [rows]. */
  readonly alpha: Tensor
  readonly input?: 'sign' | null
}

const configSchema = z.strictObject({ input: z.literal('sign').optional() })

export class BinaryWeight implements Weight {
  readonly kind = 'binary'
  readonly shape: Shape
  readonly bits: Tensor
  readonly alpha: Tensor
  readonly input: 'sign' | null

  /** Takes over the tensors. */
  constructor({ shape, bits, alpha, input = null }: BinaryParts) {
    const [rows] = matrixShape('binary', shape)
    const bytes = Math.ceil(sizeOf(shape) / 8)
    if (bits.dtype !== 'u8' || bits.rank !== 1 || bits.size !== bytes)
      throw new ShapeError('ERR_SHAPE', `weight: the bits of a binary weight [${shape}] must be u8[${bytes}], got ${bits}`)
    if (alpha.dtype !== 'f32' || alpha.rank !== 1 || alpha.size !== rows)
      throw new ShapeError('ERR_SHAPE', `weight: alpha of a binary weight [${shape}] must be f32[${rows}], got ${alpha}`)
    this.shape = [...shape]
    this.bits = bits
    this.alpha = alpha
    this.input = input
  }
  get description(): string {
    return `binary${this.input ? ', binary input' : ''}`
  }
  get approximation(): string | undefined {
    return this.input ? 'it multiplies with the signs of its inputs' : undefined
  }
  bytes(): number {
    return this.bits.bytes + this.alpha.bytes
  }
  nonzeros(): number {
    const alpha = this.alpha.read() as Float32Array
    const [, cols] = matrixShape('binary', this.shape)
    return cols * alpha.reduce((n, a) => n + (a !== 0 ? 1 : 0), 0)
  }
  dense(): Tensor {
    const signs = scaleShift(maskUnpack(this.bits, this.shape), 2, -1)
    return mul(signs, reshape(this.alpha, [this.alpha.size, ...this.shape.slice(1).map(() => 1)]))
  }

  apply(x: Tensor, use: WeightUse): Tensor {
    if (use.op === 'lookup') return scope(() => gather(this.dense(), x))
    if (this.input) return scope(() => this.#onSigns(x, use))
    const values = this.dense()
    return withTemporary([values], () => applyDense(values, x, use))
  }

  #onSigns(x: Tensor, use: Exclude<WeightUse, { op: 'lookup' }>): Tensor {
    const values = this.dense()
    if (use.op === 'linear') return applyDense(values, mul(signSte(x), mean(abs(x), [x.rank - 1], true)), use)
    if (use.op === 'convTranspose2d')
      throw new OptionError('ERR_OPTION', 'weight: transposed convolutions have no binary input; leave it floating')
    // y = (sign(x) * alpha b) . K + bias, K the mean |x| of what each output sees (all channels, grouped or not).
    const plain = { ...use, bias: null }
    const window = this.shape.slice(2)
    const box = full([1, 1, ...window], 1 / sizeOf(window))
    const k = applyDense(box, mean(abs(x), [1], true), { ...plain, groups: 1 })
    const y = mul(applyDense(values, signSte(x), plain), k)
    return use.bias ? add(y, reshape(use.bias, [use.bias.size, ...window.map(() => 1)])) : y
  }

  parts(): Record<string, RawTensor> {
    return { bits: toRaw(this.bits), alpha: toRaw(this.alpha) }
  }
  config(): Json {
    return this.input ? { input: this.input } : {}
  }
  trainable(): readonly Leaf[] {
    return []
  }
  dispose(): void {
    this.bits.dispose()
    this.alpha.dispose()
  }
}

export const binaryKind = defineWeightKind({
  kind: 'binary',
  restore: (parts, given, shape) => {
    const { input = null } = parseWeightConfig('binary', configSchema, given)
    checkPartNames('binary', parts, ['bits', 'alpha'])
    const [rows] = matrixShape('binary', shape)
    const size = sizeOf(shape)
    const bits = partOf('binary', parts, 'bits', ['u8'])
    const alpha = partOf('binary', parts, 'alpha', ['f32'])
    checkPartShape('binary', 'bits', bits, [Math.ceil(size / 8)])
    checkPartShape('binary', 'alpha', alpha, [rows])
    const spare = (8 - (size % 8)) % 8
    if (spare && bits.data[bits.data.length - 1]! >> (8 - spare) !== 0)
      throw new ModelFormatError('ERR_MODEL_FORMAT', 'weight: bits behind the last one of a binary weight must be 0')
    return scope(() => new BinaryWeight({ shape, bits: fromRaw(bits), alpha: fromRaw(alpha), input }))
  },
})
