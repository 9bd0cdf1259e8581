/** What plans combine: the same values, fewer steps, and only where nobody sees the difference. */
import { describe, expect, test } from 'vitest'
import { ops, scope, session, tensor, type Tensor } from '../../ts/index.js'
import { track } from '../clean-up.js'
import { compressed, dense, floats, type Sample } from './models.js'
import { namesOf, planSteps } from './plan-steps.js'

const stepsOf = (...[model, inputs, tolerance = 2e-6]: Parameters<typeof planSteps>): string[] =>
  namesOf(planSteps(model, inputs, tolerance))

describe('values stay', () => {
  const check = ({ model, inputs }: Sample): void => {
    track(model)
    stepsOf(model, inputs(1))
    stepsOf(model, inputs(5))
  }
  for (const [name, make] of Object.entries(dense)) test(name, () => check(make()))
  for (const [name, make] of Object.entries(compressed)) test(name, async () => check(await make()))
})

test('an encoder block is seven steps', () => {
  const { model, inputs } = dense['post-norm encoder']!()
  track(model)
  const block = ['linear_packed', 'attention', 'linear_packed', 'layer_norm', 'linear_packed', 'linear_packed', 'layer_norm']
  expect(stepsOf(model, inputs(5))).toEqual([...block, ...block])
  expect(stepsOf(model, inputs(1))).toEqual([...block, ...block]) // few rows: packed, and joined, from four on
})

describe('a product', () => {
  const w = (): Tensor => track(tensor(floats(6, 4).data, [6, 4]))
  const x = floats(5, 4)

  test('takes in an activation and a residual', () => {
    const [m, r] = [w(), track(tensor(floats(5, 6).data, [5, 6]))]
    for (const act of [ops.relu, ops.gelu, ops.tanh, ops.sigmoid])
      expect(stepsOf((t: Tensor) => ops.add(r, act(ops.linear(t, m, null))), x)).toEqual(['linear_packed'])
    expect(stepsOf((t: Tensor) => ops.relu(ops.add(ops.linear(t, m, null), r)), x)).toEqual(['linear_packed', 'relu'])
    expect(stepsOf((t: Tensor) => ops.relu(ops.linear(t, m, null)), floats(1, 4))).toEqual(['linear_fused'])
  })

  test('keeps what somebody else reads, what broadcasts and what is an output', () => {
    const [m, row] = [w(), track(tensor(floats(6).data))]
    const twice = (t: Tensor): Tensor => {
      const y = ops.linear(t, m, null)
      return ops.mul(ops.relu(y), y)
    }
    expect(stepsOf(twice, x)).toEqual(['linear_packed', 'relu', 'mul'])
    expect(stepsOf((t: Tensor) => ops.add(ops.linear(t, m, null), row), x)).toEqual(['linear_packed', 'add'])
    const y = (t: Tensor): Record<string, Tensor> => {
      const product = ops.linear(t, m, null)
      return { product, rectified: ops.relu(product) }
    }
    expect(stepsOf(y as never, x)).toEqual(['linear_packed', 'relu'])
    expect(stepsOf((t: Tensor) => ops.add(ops.linear(t, m, null), ops.linear(t, m, null)), x)).toEqual(['linear_packed', 'linear_packed'])
    const doubled = (t: Tensor): Tensor => {
      const z = ops.linear(t, m, null)
      return ops.add(z, z)
    }
    expect(stepsOf(doubled, x)).toEqual(['linear_packed', 'add'])
  })

  test('packed weights are shared by classes and freed with the last', () => {
    const m = w()
    const s = track(session((t: Tensor) => ops.linear(t, m, null)))
    s.prepare(floats(5, 4))
    s.prepare(floats(9, 4))
    for (const n of [5, 9]) {
      const { data } = floats(n, 4)
      const want = scope(() => ops.linear(tensor(data, [n, 4]), m, null).read() as Float32Array)
      const got = s.runSync({ data, shape: [n, 4] }).output!.data as Float32Array
      for (let i = 0; i < want.length; i++) expect(got[i]).toBeCloseTo(want[i]!, 5)
    }
  })
})
