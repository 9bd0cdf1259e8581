/**
 * LSTM and GRU with layers and directions: batch-first input, lengths, dropout between layers, initial states given and final states returned.
 *
 * LSTM: Hochreiter and Schmidhuber 1997 with the forget gate of Gers, Schmidhuber, Cummins 2000:
 *   i, f, o = sigmoid(W x + U h + b), g = tanh(W x + U h + b), c' = f c + i g, h' = o tanh(c')
 * GRU: Cho et al. 2014 with the reset gate behind the recurrent product (as cuDNN and PyTorch have it):
 *   r, z = sigmoid(W x + U h + b), n = tanh(W x + b + r (U h + b')), h' = (1 - z) n + z h
 */
import { add, permute, reshape, slice } from '../../autograd/index.js'
import { OptionError, ShapeError } from '../../base/errors.js'
import { scope, type Tensor } from '../../tensor/index.js'
import { gruDirection, lstmDirection } from '../recurrent.js'
import { concat } from './concat.js'
import { dropout } from './dropout.js'

/** A direction computed elsewhere: x [T, B, C], states [B, H] -> outputs [T, B, H], then the last h (and c). */
export interface RecurrentRun {
  readonly run: (use: {
    readonly x: Tensor
    readonly h0: Tensor | null
    readonly c0: Tensor | null
    readonly lengths: Tensor | null
    readonly reverse: boolean
  }) => Tensor
}

/** Weights of one direction of one layer; gates in the order i f g o (LSTM) and r z n (GRU). */
export interface RecurrentWeights {
  /** [G H, C]: C is the width of the input, or H times the number of directions of the layer below. */
  readonly wih: Tensor
  /** [G H, H] */
  readonly whh: Tensor
  /** [G H] */
  readonly bih?: Tensor | null
  /** [G H] */
  readonly bhh?: Tensor | null
}

export interface RecurrentOptions {
  /** i32 [B], each in [0, T]: later outputs of a sequence are 0, its state stops there, and the reverse direction begins there. */
  readonly lengths?: Tensor | null
  /** First hidden states [layers * directions, B, H]; zeros without. */
  readonly h0?: Tensor | null
  /** First cells of an LSTM, of the same shape. */
  readonly c0?: Tensor | null
  /** Share of the outputs of every layer but the last that is set to 0. Default 0; `seed` and `stream` say which. */
  readonly dropout?: number
  readonly seed?: number
  /** Stream of random numbers behind layer l; default l. */
  readonly stream?: (layer: number) => number
  /** x is [B, T, C] and y [B, T, D H]; false: [T, B, ...]. Default true. */
  readonly batchFirst?: boolean
}

export interface GruResult {
  /** Outputs of the last layer [B, T, D H]; directions side by side. */
  readonly y: Tensor
  /** Last hidden states [layers * directions, B, H]. */
  readonly h: Tensor
}
export interface LstmResult extends GruResult {
  /** Last cells, of the shape of h. */
  readonly c: Tensor
}

interface Direction {
  /** [T, B, H] */
  readonly y: Tensor
  /** [1, B, H] each. */
  readonly last: readonly Tensor[]
}
type AnyDirection = RecurrentWeights | RecurrentRun
type RunDirection = (x: Tensor, w: AnyDirection, index: number, reverse: boolean) => Direction

/** `layers`: per layer one direction, or two (forward, reverse). */
function runLayers(
  name: string,
  x: Tensor,
  layers: readonly (readonly AnyDirection[])[],
  options: RecurrentOptions,
  run: RunDirection,
): { readonly y: Tensor; readonly last: readonly Tensor[] } {
  const directions = layers[0]?.length ?? 0
  if (directions < 1 || directions > 2 || layers.some((l) => l.length !== directions))
    throw new OptionError(
      'ERR_OPTION',
      `${name}: every layer must have one direction or every one two, got ${layers.map((l) => l.length).join(', ') || 'no layer'}`,
    )
  if (x.rank !== 3) throw new ShapeError('ERR_SHAPE', `${name}: x must be [B, T, C], got ${x}`)
  const { batchFirst = true, dropout: p = 0, seed = 0, stream = (l) => l } = options
  let h = batchFirst ? permute(x, [1, 0, 2]) : x
  const last: (readonly Tensor[])[] = []
  layers.forEach((layer, l) => {
    const input = l > 0 && p > 0 ? dropout(h, p, { seed, stream: stream(l - 1) }) : h
    const outs = layer.map((w, d) => run(input, w, l * directions + d, d === 1))
    last.push(...outs.map((o) => o.last))
    h = outs.length === 1 ? outs[0]!.y : concat([outs[0]!.y, outs[1]!.y], 2)
  })
  const states = last[0]!.map((_, k) => concat(last.map((s) => s[k]!)))
  return { y: batchFirst ? permute(h, [1, 0, 2]) : reshape(h, h.shape), last: states }
}

/** State `index` of a list [N, B, H] as [B, H]. */
function stateAt(name: string, states: Tensor | null | undefined, index: number, count: number): Tensor | null {
  if (!states) return null
  if (states.rank !== 3 || states.shape[0] !== count)
    throw new ShapeError('ERR_SHAPE', `${name}: initial states must be [layers * directions, B, H] with ${count} in front, got ${states}`)
  const [, b, h] = states.shape as [number, number, number]
  return reshape(slice(states, [index, 0, 0], [1, b, h]), [b, h])
}

const bothBiases = ({ bih, bhh }: RecurrentWeights): Tensor | null => (bih && bhh ? add(bih, bhh) : (bih ?? bhh ?? null))

/** The first T rows of states, and the ones behind. */
function split(states: Tensor, steps: number): Direction {
  const [all, b, h] = states.shape as [number, number, number]
  const row = (k: number): Tensor => slice(states, [k, 0, 0], [1, b, h])
  return { y: slice(states, [0, 0, 0], [steps, b, h]), last: Array.from({ length: all - steps }, (_, k) => row(steps + k)) }
}

/**
 * LSTM over x [B, T, C]; `layers[l][d]` are the weights of layer l in direction d. f32 or f64.
 *
 * - shapes that do not fit, lengths outside [0, T]: ERR_SHAPE
 * - element types that differ: ERR_DTYPE
 * - no layer, layers with different numbers of directions, dropout outside [0, 1): ERR_OPTION
 *
 * @example
 * const layer = { wih: full([4, 1], 0.5), whh: full([4, 1], 0.5) }
 * const { y, h, c } = lstm(tensor([[[1], [2]]]), [[layer]])
 * y   // f32[1,2,1] = [[[0.17427], [0.500859]]]
 */
export function lstm(x: Tensor, layers: readonly (readonly AnyDirection[])[], options: RecurrentOptions = {}): LstmResult {
  const { lengths = null, h0, c0 } = options
  const count = layers.length * (layers[0]?.length ?? 0)
  return scope(() => {
    const { y, last } = runLayers('lstm', x, layers, options, (input, w, index, reverse) => {
      const [h, c] = [stateAt('lstm', h0, index, count), stateAt('lstm', c0, index, count)]
      const states =
        'run' in w
          ? w.run({ x: input, h0: h, c0: c, lengths, reverse })
          : lstmDirection(input, w.wih, w.whh, bothBiases(w), h, c, lengths, reverse)[0]
      return split(states, input.shape[0]!)
    })
    return { y, h: last[0]!, c: last[1]! }
  })
}

/**
 * GRU over x [B, T, C]; everything else as in {@link lstm}, without cells.
 *
 * @example
 * const layer = { wih: full([3, 1], 0.5), whh: full([3, 1], 0.5) }
 * const { y } = gru(tensor([[[1], [2]]]), [[layer]])
 * y   // f32[1,2,1] = [[[0.174468], [0.329078]]]
 */
export function gru(x: Tensor, layers: readonly (readonly AnyDirection[])[], options: RecurrentOptions = {}): GruResult {
  const { lengths = null, h0 } = options
  const count = layers.length * (layers[0]?.length ?? 0)
  return scope(() => {
    const { y, last } = runLayers('gru', x, layers, options, (input, w, index, reverse) => {
      const h = stateAt('gru', h0, index, count)
      const states =
        'run' in w
          ? w.run({ x: input, h0: h, c0: null, lengths, reverse })
          : gruDirection(input, w.wih, w.whh, w.bih ?? null, w.bhh ?? null, h, lengths, reverse)[0]
      return split(states, input.shape[0]!)
    })
    return { y, h: last[0]! }
  })
}
