// One layer, 512 x 512, in every form that the kernels take: bytes, error, and how to call it. Times depend on your machine: see 08-bench.mjs.
import {
  BlockMatrix,
  CsrMatrix,
  NmMatrix,
  linear,
  maskApply,
  matmulBf16,
  matmulGroups,
  matmulInt8,
  packBf16,
  packGroups,
  packWeights,
  quantize,
  scope,
  tensor,
  topKMask,
  zeros,
} from 'tersor/kernels'

const N = 512
const K = 512
let state = 1
const random = () => (state = (state * 48271) % 2147483647) / 2147483647 - 0.5

scope(() => {
  const w = tensor(Float32Array.from({ length: N * K }, random), [N, K])
  const x = tensor(Float32Array.from({ length: 4 * K }, random), [4, K])
  const exact = linear(x, w).read()
  const show = (name, bytes, y, reference = exact) => {
    const values = y.read()
    let error = 0
    let size = 0
    reference.forEach((v, i) => {
      error += (values[i] - v) ** 2
      size += v ** 2
    })
    console.log(`${name.padEnd(30)} ${(bytes / 1024).toFixed(0).padStart(5)} KiB  error ${(100 * Math.sqrt(error / size)).toFixed(2)} %`)
  }

  show('f32', w.bytes, linear(x, w))
  const half = packBf16(w)
  show('bf16', half.bytes, matmulBf16(x, half))

  // Integers: each row of x is quantized by its own range on the way in; the sums of products are exact.
  const { codes, scale } = quantize(w)
  const int8 = packWeights(codes)
  show('int8, x too', int8.bytes, matmulInt8(x, int8, { wScale: tensor(scale.read()) }))

  // Few bits in groups of 32; x stays f32.
  for (const bits of [4, 3, 2]) {
    const packed = packGroups(quantize(w, { bits, groups: K / 32 }), bits)
    show(`${bits} bits in groups of 32`, packed.bytes, matmulGroups(x, packed))
  }

  // Zeros: against the pruned layer, since that is what these forms hold.
  const pruned = maskApply(w, topKMask(w, { k: Math.round((N * K) / 10), scores: 'magnitude' }))
  const want = linear(x, pruned).read()
  const csr = CsrMatrix.from(pruned)
  show('CSR, 90 % zeros', csr.bytes, csr.matmul(x), want)
  const blocks = BlockMatrix.from(pruned, [1, 16])
  show('1x16 blocks of the same', blocks.bytes, blocks.matmul(x), want)
  const two = maskApply(w, topKMask(w, { nm: [2, 4], scores: 'magnitude' }))
  const nm = NmMatrix.from(two)
  show('2:4', nm.bytes, nm.matmul(x), linear(x, two).read())

  // The same memory again and again: no allocation per call.
  const y = zeros([4, N])
  for (let i = 0; i < 100; i++) linear.into(y, x, w, null)
  show('f32, into memory that exists', w.bytes, y)
})
