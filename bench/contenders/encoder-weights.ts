/** Weights of the encoder of bench/cases/models.ts by path: uniform in +-0.05 in the order of the names, scales of norms 1 more. */
import { floats } from '../lib/data.js'

export interface EncoderSizes {
  readonly layers: number
  readonly width: number
  readonly hidden: number
  readonly heads: number
  readonly tokens: number
}

export function encoderWeights({ layers, width, hidden }: EncoderSizes): Map<string, Float32Array> {
  const sizes: Record<string, number> = {}
  for (let i = 0; i < layers; i++) {
    for (const name of ['query', 'key', 'value', 'output']) {
      sizes[`${i}.attention.${name}.weight`] = width * width
      sizes[`${i}.attention.${name}.bias`] = width
    }
    sizes[`${i}.up.weight`] = sizes[`${i}.down.weight`] = width * hidden
    sizes[`${i}.up.bias`] = hidden
    sizes[`${i}.down.bias`] = width
    for (const norm of ['norm1', 'norm2']) sizes[`${i}.${norm}.gamma`] = sizes[`${i}.${norm}.beta`] = width
  }
  const paths = Object.keys(sizes).sort()
  return new Map(paths.map((path, i) => [path, floats(sizes[path]!, 100 + i).map((v) => (path.endsWith('gamma') ? 1 : 0) + 0.05 * v)]))
}

export const encoderInput = ({ tokens, width }: EncoderSizes): Float32Array => floats(tokens * width, 7)
