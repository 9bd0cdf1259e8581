// Your own code on Tersor's bench harness: contenders measured in turn, so that a busy machine disturbs all of them alike.
import { resultTable, suite } from 'tersor/bench'
import { linear, tensor, zeros } from 'tersor/kernels'

const plain = (x, w, y, k) => {
  for (let n = 0; n < y.length; n++) {
    let sum = 0
    for (let i = 0; i < k; i++) sum += x[i] * w[n * k + i]
    y[n] = sum
  }
}

const result = await suite({
  name: 'one row times a matrix',
  cases: [64, 512].map((k) => ({ name: `${k} x ${k}`, params: { k }, operations: 2 * k * k })),
  contenders: [
    {
      name: 'tersor',
      prepare: ({ params: { k } }) => {
        const x = tensor(new Float32Array(k).fill(0.5), [1, k])
        const w = tensor(new Float32Array(k * k).fill(0.25), [k, k])
        const y = zeros([1, k])
        return () => linear.into(y, x, w, null)
      },
    },
    {
      name: 'a loop',
      prepare: ({ params: { k } }) => {
        const x = new Float32Array(k).fill(0.5)
        const w = new Float32Array(k * k).fill(0.25)
        const y = new Float32Array(k)
        return () => plain(x, w, y, k)
      },
    },
  ],
}).run({ rounds: 5, ms: 5 })

console.log(resultTable(result))
