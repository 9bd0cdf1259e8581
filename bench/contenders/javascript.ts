/** Plain JavaScript: what a program without native code would do. */
import { bellFloats, floats, sumAbs } from '../lib/data.js'
import type { Job } from '../lib/protocol.js'
import { serve, Unsupported, type ServedCase } from '../lib/serve.js'

type Params = Record<string, number>

const kernels: Readonly<Record<string, (p: Params) => ServedCase>> = {
  topk: ({ n, keep }) => {
    if (n! > 1e7) throw new Unsupported('more than 20 s a call')
    const x = bellFloats(n!, 44)
    const count = Math.floor(n! * keep!)
    const call = (): Uint8Array => {
      const size = x.map(Math.abs)
      const threshold = size.slice().sort()[n! - count]!
      return Uint8Array.from(size, (v) => (v >= threshold ? 1 : 0))
    }
    return { calls: [call] }
  },
  'eager.add': ({ n }) => {
    const [a, b] = [floats(n!, 11), floats(n!, 22)]
    const call = (): Float32Array => a.map((v, i) => v + b[i]!)
    return { calls: [call], check: sumAbs(call()) }
  },
  'eager.chain': ({ n }) => {
    const [a, b, c] = [floats(n!, 11), floats(n!, 22), floats(n!, 33)]
    const call = (): Float32Array => {
      const ab = a.map((v, i) => v * b[i]!)
      const abc = ab.map((v, i) => v + c[i]!)
      return abc.map((v) => Math.max(v, 0))
    }
    return { calls: [call], check: sumAbs(call()) }
  },
  'gemm.f32': ({ m, k, n }) => {
    const [a, b, c] = [floats(m! * k!, 11), floats(k! * n!, 22), new Float32Array(m! * n!)]
    const call = (): void => {
      c.fill(0)
      for (let i = 0; i < m!; i++)
        for (let q = 0; q < k!; q++) {
          const x = a[i * k! + q]!
          for (let j = 0; j < n!; j++) c[i * n! + j]! += x * b[q * n! + j]!
        }
    }
    call()
    return { calls: [call], check: sumAbs(c) }
  },
}

function prepare({ kernel, threads, params }: Job): ServedCase {
  const make = kernels[kernel]
  if (!make) throw new Unsupported(`no ${kernel} in plain JavaScript`)
  if (threads > 1) throw new Unsupported('JavaScript has one thread')
  return make(params as Params)
}

await serve({ name: 'JavaScript', version: process.version, isa: 'V8' }, prepare)
