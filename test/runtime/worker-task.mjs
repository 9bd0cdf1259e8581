// A task of a user's own, made again in the worker: y = x w towards 2 x, in batches of 4.
import { pathToFileURL } from 'node:url'

export default async function lineTask({ samples, dist, work = 0 }) {
  const { ops, scope, tensor } = await import(pathToFileURL(dist).href)
  return {
    kind: 'line',
    name: 'line',
    examples: samples,
    portable: { make: import.meta.filename, args: [{ samples, dist, work }] },
    count: () => 4,
    split: (batch) => [batch],
    batches: () => ({ batchesPerEpoch: samples / 4, next: () => Float32Array.of(1, 2, 3, 4) }),
    loss: ({ forward }, x) => {
      for (let i = 0; i < work; i++)
        scope(() => {
          ops.matmul(tensor(new Float32Array(1 << 20), [1024, 1024]), tensor(new Float32Array(1 << 20), [1024, 1024]))
        })
      return ops.mse(
        forward(tensor(x, [4, 1])),
        tensor(
          x.map((v) => 2 * v),
          [4, 1],
        ),
      )
    },
  }
}
