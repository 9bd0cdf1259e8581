/** Scales that a half can hold. */
import { cast } from '../../ops/index.js'
import { scope, tensor } from '../../tensor/index.js'

const LARGEST = 65504
const LEAST_NORMAL = 2 ** -14

/** Each scale rounded up to the next f16 (up, so that no value leaves the range), or undefined when one is too large or too small. */
export function halfScales(scales: Float32Array): Float32Array | undefined {
  if (scales.some((s) => s > LARGEST || s < LEAST_NORMAL)) return undefined
  return scope(() => {
    const half = cast(tensor(scales), 'f16')
    const bits = half.read() as Uint16Array
    const nearest = cast(half, 'f32').read() as Float32Array
    for (let i = 0; i < bits.length; i++) if (nearest[i]! < scales[i]!) bits[i]!++
    half.write(bits)
    return cast(half, 'f32').read() as Float32Array
  })
}
