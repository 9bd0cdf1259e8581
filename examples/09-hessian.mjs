// Second order: a quadratic whose Hessian is known, then a small net on random data. Nothing here ever holds a Hessian.
import { hessian, Model, ops, tensor } from 'tersor'
import { numberDataset } from 'tersor/data'
import { activation, build, freshValues, linear, sequential } from 'tersor/nn'

// f(w) = 2 w0^2 + w1^2 + w0 w1: Hessian [[4, 1], [1, 2]], eigenvalues 3 +- sqrt(2).
const [w, half] = [tensor([[1], [1]]), tensor(0.5)]
const a = tensor([
  [4, 1],
  [1, 2],
])
const quadratic = hessian.ofFunction(() => ops.mul(half, ops.sum(ops.mul(w, ops.matmul(a, w)))), [w])
const { pairs } = await hessian.lanczos(quadratic, { top: 2 })
console.log(`eigenvalues: ${pairs.map((p) => p.value.toFixed(4)).join(', ')}`)
quadratic.dispose()

const random = (n, seed) => ops.randomNormal([n], { seed }).read()
const values = random(1000, 1)
let i = 0
const rng = { uniform: () => 0.5 + values[i++ % 1000] / 8, normal: () => values[i++ % 1000] }
const spec = sequential({
  fc1: linear({ in: 8, out: 16, bias: true, init: 'he' }),
  tanh: activation({ function: 'tanh' }),
  fc2: linear({ in: 16, out: 2, bias: true, init: 'he' }),
})
const model = new Model(build(spec, freshValues(rng)), { name: 'net', task: 'classification', inputShape: [8], history: [] })
const features = random(200 * 8, 2)
const labels = Int32Array.from({ length: 200 }, (_, k) => (features[8 * k] > 0 ? 1 : 0))
const data = numberDataset({ name: 'half spaces', features, inputShape: [8], labels, classes: ['left', 'right'] })

const h = hessian.ofModel(model, data)
const top = await hessian.lanczos(h)
const trace = await hessian.trace(h, { maxSamples: 200, tolerance: 0 })
const { grid, density } = await hessian.density(h)
const mass = density.reduce((s, v) => s + v, 0) * (grid[1] - grid[0])
console.log(`${h.size} parameters: largest eigenvalue positive: ${top.pairs[0].value > 0}, from ${top.products} products`)
console.log(`trace ${trace.trace > 0 ? 'positive' : 'not positive'}, known to ${((100 * trace.standardError) / trace.trace).toFixed(0)} %`)
console.log(`mass of the density: ${mass.toFixed(3)}`)
h.dispose()
