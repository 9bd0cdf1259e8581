/**
 * A process to be limited or killed. `once FILE` writes 2 MiB over FILE and says what came of it; `loop FILE` writes safetensors files without end
 * and says `N` after the Nth is acknowledged.
 */
import fs from 'node:fs'
import path from 'node:path'
import { isTersorError } from '../../ts/base/errors.js'
import { writeFileAtomic } from '../../ts/formats/atomic.js'
import { writeSafetensors } from '../../ts/formats/safetensors.js'

const [mode, file = ''] = process.argv.slice(2)
if (mode === 'once') {
  let result = 'written'
  try {
    writeFileAtomic(
      file,
      Array.from({ length: 32 }, () => new Uint8Array(65536)),
    )
  } catch (error) {
    if (!isTersorError(error)) throw error
    result = `${error.code} ${String(error.details.errno)} ${String(error.details.committed)}`
  }
  const content = fs.readFileSync(file, 'latin1').slice(0, 100).trim()
  console.log(`${result}, content: ${content}, files: ${fs.readdirSync(path.dirname(file)).join(' ')}`)
} else {
  const data = new Uint8Array(2 * 2 ** 20)
  for (let n = 1; ; n++) {
    data.fill(n)
    writeSafetensors(file, [['w', { dtype: 'u8', shape: [data.length], data }]], { metadata: { n: String(n) } })
    fs.writeSync(1, `${n}\n`)
  }
}
