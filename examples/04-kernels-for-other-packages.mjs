// The kernels without the rest: int8 and sparse products, masks and codes, for packages that bring their own models.
import {
  CsrMatrix,
  dequantize,
  isa,
  kernelRows,
  maskApply,
  matmulInt8,
  packWeights,
  quantize,
  scope,
  tensor,
  topKMask,
} from 'tersor/kernels'

const { levels } = isa()
console.log(`levels here: ${levels.filter((l) => l.allowed).map((l) => l.name).join(' ')}`) // prettier-ignore
console.log(`int8 products run on ${kernelRows().find((row) => row.family === 'qgemm' && row.chosen).function}`)

scope(() => {
  const w = tensor([
    [0.5, -1, 0.25, 0],
    [2, 0, -0.5, 1],
  ])
  const x = tensor([[1, 2, 3, 4]])

  // 8-bit codes of the rows, packed for the kernel of this machine; the activations are quantized on the fly.
  const { codes, scale } = quantize(w)
  const packed = packWeights(codes)
  const y = matmulInt8(x, packed, { xScale: 4 / 127, xZero: 128, wScale: tensor(scale.read()) })
  console.log(`int8:   ${fixed(y)}`)
  console.log(`back:   ${fixed(dequantize({ codes, scale, zero: null }))}`)

  // Only what is not zero.
  const sparse = CsrMatrix.fromDense(w)
  console.log(`sparse: ${fixed(sparse.matmul(x))} from ${sparse.nnz} of ${w.size} weights`)

  // The three largest scores stay.
  console.log(`top 3:  ${fixed(maskApply(w, topKMask(w, 3)))}`)
})

function fixed(t) {
  return [...t.read()].map((v) => (v === 0 ? '0' : v.toFixed(2))).join(' ')
}
