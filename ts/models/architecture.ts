/** What an architecture is: a function from the data's shape to a spec; and what those for images share. */
import { OptionError } from '../base/errors.js'
import type { ModuleSpec } from '../nn/index.js'

export interface ArchitectureOptions {
  /** Shape of one sample as the data set has it, for example [28, 28] or [4]. */
  readonly inputShape: readonly number[]
  readonly classes: number
}

export interface Architecture {
  readonly spec: ModuleSpec
  /** Shape of one input as the model takes it: images get a channel dimension. */
  readonly inputShape: readonly number[]
}

/** [H, W] and [C, H, W] -> [C, H, W]; anything else is ERR_OPTION. */
export function imageShape(where: string, shape: readonly number[]): readonly [number, number, number] {
  if (shape.length === 2) return [1, shape[0]!, shape[1]!]
  if (shape.length === 3) return [shape[0]!, shape[1]!, shape[2]!]
  throw new OptionError('ERR_OPTION', `${where}: takes images [H, W] or [C, H, W], the data has samples [${shape.join(', ')}]`)
}

/** H of a valid convolution (or pooling) with this kernel and stride; ERR_OPTION when the image is too small. */
export function shrink(where: string, size: number, kernel: number, stride = 1): number {
  const out = Math.floor((size - kernel) / stride) + 1
  if (out < 1) throw new OptionError('ERR_OPTION', `${where}: images are too small: a side of ${size} under a window of ${kernel}`)
  return out
}
