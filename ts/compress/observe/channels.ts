/** Largest magnitude of each input channel of a layer. */
import type { JsonObject } from '../../base/json-types.js'
import type { Module } from '../../nn/index.js'
import { abs, amax } from '../../ops/index.js'
import { scope, type Tensor } from '../../tensor/index.js'
import { pieces } from './pieces.js'
import { rangeOf } from './ranges.js'
import type { Statistic } from './statistic.js'

/** Where the channels of a layer's input stand: a kind that is not listed does not say. */
const axes: Readonly<Record<string, 'last' | 'second'>> = { linear: 'last', conv1d: 'second', conv2d: 'second' }

/** The statistic for a layer: one number per channel (feature). Undefined for layers that are no linear layers or convolutions. */
export function channelMaxima(module: Module): Statistic<Float32Array> | undefined {
  const place = Object.hasOwn(axes, module.kind) ? axes[module.kind] : undefined
  if (!place) return undefined
  return {
    key: 'channel maxima',
    observe: (path) => {
      let most = new Float32Array(0)
      const add = (part: Tensor): void => {
        const axis = place === 'last' ? part.rank - 1 : 1
        const others = part.shape.map((_, i) => i).filter((i) => i !== axis)
        const size = abs(part)
        const found = (others.length === 0 ? size : amax(size, others, false)).read() as Float32Array
        if (most.length === 0) most = new Float32Array(found.length)
        for (let i = 0; i < most.length; i++) most[i] = Math.max(most[i]!, found[i]!)
      }
      return {
        see: (x) => {
          rangeOf(path, x)
          pieces(x, (part) => scope(() => add(part)))
        },
        value: () => most,
      }
    },
    save: (most) => ({
      json: { channels: most.length },
      tensors: { most: { dtype: 'f32', shape: [most.length], data: new Uint8Array(most.buffer.slice(0)) } },
    }),
    restore: (json, { most }) => {
      const { channels } = json as JsonObject
      return new Float32Array(most!.data.slice().buffer, 0, channels as number)
    },
  }
}
