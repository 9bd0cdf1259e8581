/** CRC-32 as zip and gzip have it (IEEE 802.3, reflected). Node's own where it is there (20.15, 22.2, Bun, Deno). */
import * as zlib from 'node:zlib'

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1
  return n
})

/** By a table: a byte a step. */
export function tableCrc32(data: Uint8Array): number {
  let crc = 0xffffffff
  for (let i = 0; i < data.length; i++) crc = table[(crc ^ data[i]!) & 255]! ^ (crc >>> 8)
  return (crc ^ 0xffffffff) >>> 0
}

export const crc32 = (zlib as { readonly crc32?: (data: Uint8Array) => number }).crc32 ?? tableCrc32
