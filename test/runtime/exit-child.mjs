/** A process that ends while runs are in flight. argv: exit | throw | natural | dispose. */
import { ops, session, tensor } from '../../dist/esm/index.js'

const n = 128
const w = tensor(new Float32Array(n * n).fill(0.01), [n, n])
const s = session((x) => ops.linear(ops.linear(x, w, null), w, null))
const inputs = { data: new Float32Array(n * n).fill(1), shape: [n, n] }
s.prepare(inputs)
const runs = Array.from({ length: 50 }, () => s.run(inputs))
if (process.argv[2] === 'exit') process.exit(7)
if (process.argv[2] === 'throw') throw new Error('not caught')
if (process.argv[2] === 'dispose') {
  s.dispose()
  w.dispose()
}
await Promise.all(runs)
