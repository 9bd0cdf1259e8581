/** TensorFlow.js on its WebAssembly backend (SIMD). The result is read, as a program would. */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { floats, sumAbs } from '../lib/data.js'
import type { Job } from '../lib/protocol.js'
import { serve, Unsupported, type ServedCase } from '../lib/serve.js'

const rivals = process.env.TERSOR_BENCH_RIVALS ?? join(import.meta.dirname, '..', 'rivals')
const require = createRequire(join(rivals, 'package.json'))
const tf = require('@tensorflow/tfjs-core')
const wasm = require('@tensorflow/tfjs-backend-wasm')
// It prints to stdout while it starts, which is the protocol's.
console.log = console.info = console.warn = (...text: unknown[]) => process.stderr.write(`${text.join(' ')}\n`)
const home = dirname(require.resolve('@tensorflow/tfjs-backend-wasm/package.json'))
wasm.setWasmPaths(join(home, 'wasm-out') + '/')
await tf.setBackend('wasm')
await tf.ready()

/** The chain and the sum are released each, as without tf.tidy, whose bookkeeping costs more. */
function eager(kernel: string, n: number): ServedCase {
  const [a, b, c] = [11, 22, 33].map((seed) => tf.tensor1d(floats(n, seed)))
  const chain = (): any => {
    const ab = tf.mul(a, b)
    const abc = tf.add(ab, c)
    const y = tf.relu(abc)
    tf.dispose([ab, abc])
    return y
  }
  const make = kernel === 'eager.add' ? (): any => tf.add(a, b) : chain
  const first = make()
  const check = sumAbs(first.dataSync() as Float32Array)
  first.dispose()
  return { calls: [() => make().dispose() as void], check, release: () => tf.dispose([a, b, c]) as void }
}

function prepare({ kernel, threads, params }: Job): ServedCase {
  if (kernel === 'eager.add' || kernel === 'eager.chain') return eager(kernel, params.n as number)
  if (kernel !== 'gemm.f32') throw new Unsupported(`no ${kernel} in this driver of TensorFlow.js`)
  if (threads > 1) throw new Unsupported('its WebAssembly threads do not run in Node')
  const { m, k, n } = params as Record<'m' | 'k' | 'n', number>
  const a = tf.tensor2d(floats(m * k, 11), [m, k])
  const b = tf.tensor2d(floats(k * n, 22), [k, n])
  const call = (): Float32Array => {
    const c = tf.matMul(a, b)
    const values = c.dataSync() as Float32Array
    c.dispose()
    return values
  }
  return { calls: [call], check: sumAbs(call()), release: () => tf.dispose([a, b]) as void }
}

await serve({ name: 'tfjs-backend-wasm', version: tf.version_core, isa: 'WebAssembly SIMD' }, prepare)
