/** What a convolution's products see: its patches, fetched by a depthwise convolution whose filters are 1 at one tap each. */
import { conv2d, permute, reshape, type Conv2dOptions, type Padding2d } from '../../ops/index.js'
import { tensor, type Tensor } from '../../tensor/index.js'

/** Filters of a depthwise convolution that fetch every tap of every channel: 1 there and 0 elsewhere. */
export function pickers(channels: number, kernel: readonly number[]): Tensor {
  const taps = kernel.reduce((a, b) => a * b, 1)
  const filters = new Float32Array(channels * taps * taps)
  for (let i = 0; i < channels * taps; i++) filters[i * taps + (i % taps)] = 1
  return tensor(filters, [channels * taps, 1, ...kernel])
}

export interface Patches {
  /** [B H W, C taps], in the order of a filter's values. */
  readonly rows: Tensor
  /** Results by row, [B H W, N], as an image [B, N, H, W]. */
  readonly image: (y: Tensor) => Tensor
}

/** The patches of x [B, C, H, W] for filters [N, C, kh, kw]. Call in a scope. */
export function patchesOf(
  x: Tensor,
  kernel: readonly number[],
  use: { readonly stride: readonly [number, number]; readonly padding: Padding2d } & Conv2dOptions,
): Patches {
  const channels = x.shape[1]!
  const y = conv2d(x, pickers(channels, kernel), null, { ...use, groups: channels })
  const [batch, width, height, across] = y.shape as [number, number, number, number]
  return {
    rows: reshape(permute(y, [0, 2, 3, 1]), [batch * height * across, width]),
    image: (rows) => permute(reshape(rows, [batch, height, across, rows.shape[1]!]), [0, 3, 1, 2]),
  }
}
