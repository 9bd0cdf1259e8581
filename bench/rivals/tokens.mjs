/**
 * Token ids of a text corpus for rivals in other languages: `node bench/rivals/tokens.mjs SPEC OUT.npz` writes train, valid, test (i32) and vocabulary
 * (its size), exactly as `tersor train --data SPEC` sees them. Needs a build (`npm run build`).
 */
import { loadText } from '../../dist/esm/data/index.js'
import { writeNpz } from '../../dist/esm/formats/index.js'

const [spec, out] = process.argv.slice(2)
const { train, valid, test, vocabulary } = await loadText(spec)
const array = (values) => ({
  dtype: 'i32',
  shape: [values.length],
  data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
})
writeNpz(out, [
  ['train', array(train)],
  ['valid', array(valid)],
  ['test', array(test)],
  ['vocabulary', array(Int32Array.of(vocabulary.size))],
])
console.log(JSON.stringify({ train: train.length, valid: valid.length, test: test.length, vocabulary: vocabulary.size }))
