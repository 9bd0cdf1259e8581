// Tensors, gradients, second derivatives: a straight line fitted to points.
import { hvp, memory, ops, scope, tensor, valueAndGrad } from 'tersor'

const x = tensor([0, 1, 2, 3, 4])
const y = tensor([1, 3, 5, 7, 9])
let slope = tensor([0])
let offset = tensor([0])
const loss = () => ops.mse(ops.add(ops.mul(slope, x), offset), y)

for (let step = 0; step <= 200; step++) {
  // Everything that is made in a scope and not returned is freed.
  ;[slope, offset] = scope(() => {
    const { value, grads } = valueAndGrad(loss, [slope, offset])
    if (step % 100 === 0) console.log(`step ${step}: loss ${value.item().toFixed(4)}`)
    return [slope, offset].map((p, i) => ops.sub(p, ops.scaleShift(grads[i], 0.1, 0)))
  })
}
console.log(`y = ${slope.item().toFixed(2)} x + ${offset.item().toFixed(2)}`)

// A Hessian-vector product: the curvature along the slope, 2 mean(x^2) = 12, and how the offset goes with it, 2 mean(x) = 4.
const curvature = hvp(loss, [slope, offset], [tensor([1]), tensor([0])])
console.log(`curvature: ${curvature.map((t) => t.item().toFixed(1)).join(', ')}`)
console.log(`native memory in use: ${memory().bytes < 10_000 ? 'a few KB' : 'too much'}`)
