/** Layers that share a weight and differ in stride, zeros or dilation: what is known of their inputs is taken by each layer's own configuration. */
import { describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { compress, quantize, recipe } from '../../ts/compress/index.js'
import { columnMeans, columnSquares } from '../../ts/compress/observe/columns.js'
import { gramOf } from '../../ts/compress/observe/gram.js'
import { calibrate, calibrationSource } from '../../ts/compress/run/calibrate.js'
import { numberDataset } from '../../ts/data/index.js'
import {
  build,
  conv1d,
  conv2d,
  flatten,
  freshValues,
  Model,
  placesOf,
  sequential,
  type Module,
  type ModuleSpec,
} from '../../ts/nn/index.js'

const SIZE = 24
const draw = Rng.of(8, 'shared-kernel')

/** What the statistics have in common, and what one has besides. */
interface Moments {
  readonly count: number
  readonly sums: ArrayLike<number>
  readonly products?: ArrayLike<number>
}

/** The layers one behind the other, with one weight, or with weights of their own that have the same values. */
function net(layers: Readonly<Record<string, ModuleSpec>>, shared: boolean, inputShape: readonly number[]): Model {
  const made = (): Module => build(sequential({ ...layers, flat: flatten({}) }), freshValues(Rng.of(5, 'net')))
  const root = made()
  const { weights } = (shared ? root : made()).children.a!
  const children = { ...root.children, b: { ...root.children.b!, weights } }
  return new Model(
    { ...root, children },
    { name: 'net', task: 'classification', inputShape: [...inputShape], classes: ['a', 'b'], history: [] },
  )
}

const kinds: Readonly<Record<string, readonly [Readonly<Record<string, ModuleSpec>>, readonly number[]]>> = {
  'conv1d, dilation': [{ a: conv1d({ in: 3, out: 3, kernel: 3 }), b: conv1d({ in: 3, out: 3, kernel: 3, dilation: 4 }) }, [3, 20]],
  'conv1d, stride and zeros': [
    { a: conv1d({ in: 3, out: 3, kernel: 3, padding: 2 }), b: conv1d({ in: 3, out: 3, kernel: 3, stride: 2, padding: [1, 0] }) },
    [3, 20],
  ],
  'conv2d, dilation': [
    { a: conv2d({ in: 2, out: 2, kernel: [3, 3] }), b: conv2d({ in: 2, out: 2, kernel: [3, 3], dilation: [2, 3], padding: [1, 1] }) },
    [2, 10, 10],
  ],
  'conv2d in groups, stride': [
    { a: conv2d({ in: 4, out: 4, groups: 2, kernel: [2, 2] }), b: conv2d({ in: 4, out: 4, groups: 2, kernel: [2, 2], stride: [2, 1] }) },
    [4, 8, 8],
  ],
}

describe.each(Object.keys(kinds))('%s', (kind) => {
  const [layers, inputShape] = kinds[kind]!
  const row = inputShape.reduce((a, b) => a * b, 1)
  const features = Float32Array.from({ length: SIZE * row }, () => draw.normal())
  const labels = Int32Array.from({ length: SIZE }, (_, i) => i % 2)
  const data = numberDataset({ name: 'noise', classes: ['a', 'b'], inputShape: [...inputShape], features, labels, scale: 1 })
  const sweep = { samples: SIZE, seed: 1, breathe: async () => {}, progress: () => {} }

  it.each([
    ['gram', gramOf],
    ['column means', columnMeans],
    ['column squares', columnSquares],
  ] as const)('%s of layers with one weight is the sum of what each of them sees', async (_, statisticOf) => {
    const [shared, separate] = [net(layers, true, inputShape), net(layers, false, inputShape)]
    const ask = async (m: Model): Promise<Moments[]> => {
      const requests = Object.keys(layers).map((path) => ({
        path,
        statistic: statisticOf(m.root.children[path]!)!,
      }))
      const found = await calibrate(m, calibrationSource(data, undefined)!, { ...sweep, requests })
      return requests.map(({ path, statistic }) => found.get<Moments>(path, statistic)!)
    }
    const [a, b] = await ask(separate)
    const together = await ask(shared)
    expect(together[0]).toBe(together[1])
    expect(together[0]!.count).toBe(a!.count + b!.count)
    for (const name of ['sums', 'products'] as const) {
      const [all, one, other] = [together[0], a, b].map((v) => v![name] && Array.from(v![name]))
      if (!all) continue
      const most = all.reduce((m, v) => Math.max(m, Math.abs(v)), 0)
      expect(all).toHaveLength(one!.length)
      all.forEach((v, i) => expect(Math.abs(v - one![i]! - other![i]!)).toBeLessThan(1e-4 * most))
    }
    for (const m of [shared, separate]) m.dispose()
  })

  it('is rounded with error feedback as one weight', async () => {
    const model = net(layers, true, inputShape)
    const { model: small } = await compress(model, recipe([[quantize.gptq({ samples: SIZE, layout: 'channel' })]]), { data })
    const [[weight, places]] = [...placesOf(small)].filter(([w]) => w === small.root.children.a!.weights.weight) as [[unknown, string[]]]
    expect(small.root.children.b!.weights.weight).toBe(weight)
    expect(places).toEqual(['a.weight', 'b.weight'])
    for (const m of [small, model]) m.dispose()
  })
})
