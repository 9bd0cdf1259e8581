/**
 * What is removed together: single weights, all but n of every m neighbours in a row, or whole blocks. Pure arithmetic on the weight as a matrix
 * [rows, cols] (rows: outputs; columns: everything that one output reads).
 */
import { nmMask } from '../../ops/index.js'
import { scope, tensor } from '../../tensor/index.js'

export type Structure =
  | { readonly kind: 'weight' }
  | { readonly kind: 'nm'; readonly n: number; readonly m: number }
  | { readonly kind: 'block'; readonly rows: number; readonly cols: number }

/** Largest m of an N:M pattern, and largest side of a block. */
const MOST = { group: 64, side: 1024 }

/** 'weight', '2:4' (two of each four stay), '4x4' (blocks of four rows and four columns). undefined: none of them. */
export function structureOf(text: string): Structure | undefined {
  if (text === 'weight') return { kind: 'weight' }
  const [, a, sign, b] = /^([1-9]\d{0,3})([:x])([1-9]\d{0,3})$/.exec(text) ?? []
  const [n, m] = [Number(a), Number(b)]
  if (sign === ':') return n < m && m <= MOST.group ? { kind: 'nm', n, m } : undefined
  if (sign === 'x') return n <= MOST.side && m <= MOST.side && n * m > 1 ? { kind: 'block', rows: n, cols: m } : undefined
  return undefined
}

export const bitOf = (mask: Uint8Array, i: number): number => (mask[i >> 3]! >> (i & 7)) & 1

/** Bits of `size` places where `keep` says so. */
export function bitsWhere(size: number, keep: (i: number) => boolean): Uint8Array {
  const mask = new Uint8Array(Math.ceil(size / 8))
  for (let i = 0; i < size; i++) if (keep(i)) mask[i >> 3]! |= 1 << (i & 7)
  return mask
}

/** The n largest of every m neighbours of a row; what is left at the end of a row is a shorter group. Ties go to the lower index. */
export function nmBits(scores: Float32Array, rows: number, n: number, m: number): Uint8Array {
  const cols = scores.length / rows
  const wide = Math.ceil(cols / m) * m
  if (wide === cols) return scope(() => nmMask(tensor(scores, [rows, cols]), n, m, false).read()) as Uint8Array
  const padded = new Float32Array(rows * wide).fill(-Infinity)
  for (let r = 0; r < rows; r++) padded.set(scores.subarray(r * cols, (r + 1) * cols), r * wide)
  const mask = scope(() => nmMask(tensor(padded, [rows, wide]), n, m, false).read()) as Uint8Array
  return bitsWhere(rows * cols, (i) => bitOf(mask, Math.floor(i / cols) * wide + (i % cols)) === 1)
}

export interface Blocks {
  readonly down: number
  readonly across: number
  /** Block of a place. */
  readonly of: (i: number) => number
}

/** Blocks at the right and lower edge may be smaller. */
export function blocksOf(rows: number, cols: number, block: { readonly rows: number; readonly cols: number }): Blocks {
  const across = Math.ceil(cols / block.cols)
  return {
    down: Math.ceil(rows / block.rows),
    across,
    of: (i) => Math.floor(Math.floor(i / cols) / block.rows) * across + Math.floor((i % cols) / block.cols),
  }
}

/** Mean score of each block over its places; what is pruned counts as 0, and a block without a survivor is -Infinity. */
export function blockScores(scores: Float32Array, mask: Uint8Array | null, blocks: Blocks): Float32Array {
  const n = blocks.down * blocks.across
  const sums = new Float64Array(n)
  const places = new Uint32Array(n)
  const left = new Uint32Array(n)
  for (let i = 0; i < scores.length; i++) {
    const b = blocks.of(i)
    places[b]!++
    if (mask && !bitOf(mask, i)) continue
    sums[b]! += scores[i]!
    left[b]!++
  }
  return Float32Array.from(sums, (s, b) => (left[b]! > 0 ? s / places[b]! : -Infinity))
}
