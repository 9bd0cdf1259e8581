/** Files made from the golden ones: cut at every byte (F01), every byte changed in three ways (F02); of large ones the header, and every 64th byte behind. */
import { goldenBytes } from '../formats/lib.js'
import type { FileFormat, HostileFile } from './corpus.js'

const sources: readonly (readonly [string, FileFormat, header?: number])[] = [
  ['two.safetensors', 'safetensors'],
  ['le-f4-c.npy', 'npy'],
  ['be-f2-f.npy', 'npy'],
  ['b1-c.npy', 'npy'],
  ['version-3.npy', 'npy'],
  ['stored.npz', 'npz'],
  ['deflated.npz', 'npz'],
  ['bytes-idx3-ubyte', 'idx'],
  ['bytes-idx3-ubyte.gz', 'idx'],
  ['floats.idx', 'idx'],
  ['blocks.gguf', 'gguf', 1280],
]

const places = (bytes: Uint8Array, header = bytes.length): number[] => Array.from(bytes.keys()).filter((at) => at < header || at % 64 === 0)

export const truncated: readonly HostileFile[] = sources.flatMap(([name, format, header]) => {
  const bytes = goldenBytes(name)
  return places(bytes, header).map((n) => ({
    id: 'F01',
    name: `${name} cut to ${n} bytes`,
    format,
    bytes: bytes.slice(0, n),
    expect: 'ERR_MODEL_FORMAT' as const,
  }))
})

export const flipped: readonly HostileFile[] = sources.flatMap(([name, format, header]) => {
  const bytes = goldenBytes(name)
  return places(bytes, header).flatMap((at) =>
    [0x01, 0x80, 0xff].map((mask) => {
      const changed = bytes.slice()
      changed[at] = bytes[at]! ^ mask
      return { id: 'F02', name: `${name}, byte ${at} xor ${mask}`, format, bytes: changed, expect: 'any' as const }
    }),
  )
})
