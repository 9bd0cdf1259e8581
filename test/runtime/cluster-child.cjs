/** A primary with a session and three processes of a cluster with one each; argv: dist/cjs/index.js. */
'use strict'
const cluster = require('node:cluster')
const { session, tensor, ops } = require(process.argv[2])

const w = tensor([[2]])
const s = session((x) => ops.matmul(x, w))
const twice = async (n) => (await s.run({ data: Float32Array.of(n), shape: [1, 1] })).output.data[0]

if (cluster.isPrimary) {
  const codes = []
  const values = []
  for (let i = 0; i < 3; i++) cluster.fork({ NUMBER: String(i) })
  cluster.on('message', (_, value) => values.push(value))
  cluster.on('exit', async (_, code, signal) => {
    if (codes.push(signal ?? code) < 3) return
    console.log(JSON.stringify({ values: values.sort(), codes, own: await twice(21) }))
  })
} else
  void twice(Number(process.env.NUMBER)).then((value) => {
    process.send(value, () => process.disconnect())
  })
