/**
 * Checksums of Tersor's own safetensors files, kept in the metadata, so that any flipped byte is rejected with the name of its section
 * while every other reader sees an ordinary file:
 *
 *   {"__metadata__":{"tersor.sha256":"<header> <tensor 0> <tensor 1> ...","tersor.container":"1",...},...}
 *
 * Each digest is 64 hexadecimal digits, tensors in header order. The header's covers the length bytes and the whole JSON with its own
 * digits replaced by zeros. A file whose metadata has any `tersor.` key must carry a valid digest: two independent keys say so, hence
 * damage to either is seen.
 */
import { createHash } from 'node:crypto'
import { formatError, type FormatContext } from './limits.js'
import type { SafetensorsHeader, TensorEntry } from './safetensors-header.js'

export const DIGEST_KEY = 'tersor.sha256'
export const CONTAINER_KEY = 'tersor.container'
export const CONTAINER_VERSION = '1'
export const DIGEST_PREFIX = `{"__metadata__":{"${DIGEST_KEY}":"`
const DIGEST_CHARS = 64
const zeros = new Uint8Array(DIGEST_CHARS).fill(0x30)

export function sha256Hex(...parts: readonly Uint8Array[]): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest('hex')
}

/** Digest of length bytes + JSON with the digits of the header's digest read as zeros. */
export function headerDigest(bytes: Uint8Array): string {
  const at = 8 + DIGEST_PREFIX.length
  return sha256Hex(bytes.subarray(0, at), zeros, bytes.subarray(at + DIGEST_CHARS))
}

/** Checks the header and gives each tensor's digest, or undefined for a file without checksums. */
export function verifyHeader(ctx: FormatContext, header: SafetensorsHeader): ReadonlyMap<string, string> | undefined {
  const value = header.metadata.get(DIGEST_KEY)
  const ours = [...header.metadata.keys()].some((key) => key.startsWith('tersor.'))
  if (value === undefined && !ours) return undefined
  const reject = (message: string): never => {
    throw formatError(ctx, 'checksum', `section 'header': ${message}`, { byteOffset: 8, section: 'header' })
  }
  const names = [...header.tensors.keys()]
  const [own, ...digests] = value?.split(' ') ?? []
  if (own === undefined) return reject(`metadata "${DIGEST_KEY}" is missing`)
  const start = Buffer.from(header.bytes.buffer, header.bytes.byteOffset + 8, DIGEST_PREFIX.length).toString('latin1')
  if (start !== DIGEST_PREFIX || headerDigest(header.bytes) !== own)
    reject("the checksum does not fit (damaged, or rewritten by another tool: then read with checksums: 'ignore')")
  if (digests.length !== names.length) reject(`${names.length} tensors but ${digests.length} checksums`)
  return new Map(names.map((name, i) => [name, digests[i] ?? '']))
}

export function verifyTensor(ctx: FormatContext, entry: TensorEntry, data: Uint8Array, digest: string | undefined): void {
  if (digest === undefined || sha256Hex(data) === digest) return
  throw formatError(ctx, 'checksum', `section '${entry.name.slice(0, 200)}': the checksum does not fit: the file is damaged`, {
    byteOffset: entry.offset,
    section: entry.name,
    tensor: entry.name,
  })
}
