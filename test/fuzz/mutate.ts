/** Changes of valid inputs: of bytes, of JSON, and of plain data trees (a decoded protobuf message). All from one generator, so a number repeats a case. */

/** mulberry32: 32 bits of state are enough for a mutator. */
export class Random {
  #state: number
  constructor(seed: number) {
    this.#state = seed >>> 0
  }
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  below(n: number): number {
    return Math.floor(this.next() * n)
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!
  }
}

const numbers = [0, 1, -1, 2, 3, 7, 8, 9, 15, 16, 64, 127, 128, 255, 256, 1000, 32767, 65535, 65536, 2 ** 24, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 48, 2 ** 53 - 1, 2 ** 53, 2 ** 62, 2 ** 63, 2 ** 64 - 1, -(2 ** 31), -(2 ** 63), 0.5, 1e-45, 1e38, 1e308] // prettier-ignore
const texts = ['', '__proto__', 'constructor', 'toString', 'a'.repeat(300), '\u0000', '../x', '/etc/passwd', 'x/y', ':', 'x:1', '^x', 'NaN', 'same', 'SAME', 'float32', 'int32', '\ud800', '-1', '99999999999999999999'] // prettier-ignore

/** A few changes of the bytes. */
export function mutateBytes(r: Random, seed: Uint8Array, others: readonly Uint8Array[] = []): Uint8Array {
  let bytes = Uint8Array.from(seed)
  for (let n = 1 + r.below(4); n > 0; n--) {
    const at = r.below(bytes.length + 1)
    const view = new DataView(bytes.buffer)
    switch (r.below(9)) {
      case 0:
        if (at < bytes.length) bytes[at] = bytes[at]! ^ (1 << r.below(8))
        break
      case 1:
        if (at < bytes.length) bytes[at] = r.pick([0, 1, 0x7f, 0x80, 0xff, 0x22, 0x5b, 0x7b, r.below(256)])
        break
      case 2:
        if (at + 4 <= bytes.length) view.setUint32(at, r.pick(numbers) >>> 0, r.next() < 0.9)
        break
      case 3:
        if (at + 8 <= bytes.length) view.setBigUint64(at, BigInt.asUintN(64, BigInt(Math.trunc(r.pick(numbers)))), true)
        break
      case 4:
        bytes = splice(
          bytes,
          at,
          0,
          Uint8Array.from({ length: 1 + r.below(16) }, () => r.below(256)),
        )
        break
      case 5:
        bytes = splice(bytes, at, 1 + r.below(16), new Uint8Array(0))
        break
      case 6: {
        const from = r.below(bytes.length + 1)
        bytes = splice(bytes, at, 0, bytes.subarray(from, from + r.below(64)))
        break
      }
      case 7:
        if (r.next() < 0.3) bytes = bytes.slice(0, at)
        break
      default:
        if (others.length > 0) {
          const other = r.pick(others)
          const from = r.below(other.length + 1)
          bytes = splice(bytes, at, r.below(32), other.subarray(from, from + r.below(64)))
        }
    }
  }
  return bytes
}

function splice(bytes: Uint8Array, at: number, gone: number, put: Uint8Array): Uint8Array<ArrayBuffer> {
  const tail = bytes.subarray(Math.min(bytes.length, at + gone))
  const out = new Uint8Array(at + put.length + tail.length)
  out.set(bytes.subarray(0, at))
  out.set(put, at)
  out.set(tail, at + put.length)
  return out
}

interface Place {
  readonly holder: Record<string, unknown> | unknown[]
  readonly key: string | number
}

/** Every value of a tree with the place where it stands; buffers and what `$` begins are left alone. */
function places(root: unknown): Place[] {
  const out: Place[] = []
  const stack: unknown[] = [root]
  while (stack.length > 0) {
    const value = stack.pop()
    if (value === null || typeof value !== 'object' || ArrayBuffer.isView(value)) continue
    if (Array.isArray(value)) value.forEach((_, key) => out.push({ holder: value as unknown[], key }))
    else for (const key of Object.keys(value)) if (!key.startsWith('$')) out.push({ holder: value as Record<string, unknown>, key })
    stack.push(...Object.values(value))
  }
  return out
}
const at = ({ holder, key }: Place): unknown => (holder as Record<string | number, unknown>)[key]
function set({ holder, key }: Place, value: unknown): void {
  Object.defineProperty(holder, key, { value, writable: true, enumerable: true, configurable: true })
}

/** A few changes of a tree, in place: values of the same type, of other types where `loose`, list entries doubled, moved and removed. */
export function mutateTree(r: Random, root: unknown, loose: boolean): void {
  for (let n = 1 + r.below(3); n > 0; n--) {
    const all = places(root)
    if (all.length === 0) return
    const place = r.pick(all)
    const value = at(place)
    if (Array.isArray(place.holder) && r.next() < 0.25) {
      const list = place.holder
      const key = Number(place.key)
      const kind = r.below(4)
      if (kind === 0) list.splice(key, 1)
      else if (kind === 1) list.splice(r.below(list.length + 1), 0, structuredClone(value))
      else if (kind === 2) list.splice(r.below(list.length), 0, ...list.splice(key, 1))
      else for (let k = r.below(40); k > 0; k--) list.push(structuredClone(value))
    } else if (loose && r.next() < 0.1) {
      if (Array.isArray(place.holder)) set(place, r.pick([null, true, [], {}, r.pick(texts), r.pick(numbers)]))
      else if (r.next() < 0.5) delete place.holder[place.key]
      else set({ holder: place.holder, key: r.pick(texts) }, value)
    } else if (typeof value === 'number') set(place, r.next() < 0.5 ? r.pick(numbers) : value + r.pick([-2, -1, 1, 2]))
    else if (typeof value === 'bigint')
      set(place, r.next() < 0.5 ? BigInt.asIntN(64, BigInt(Math.trunc(r.pick(numbers)))) : value + BigInt(r.below(5) - 2))
    else if (typeof value === 'string') {
      const strings = all.map(at).filter((v) => typeof v === 'string')
      set(place, r.next() < 0.6 ? r.pick(strings) : r.pick(texts))
    } else if (typeof value === 'boolean') set(place, !value)
    else if (ArrayBuffer.isView(value)) set(place, mutateBytes(r, value as Uint8Array))
    else if (value !== undefined) {
      // Another subtree of the same kind in its place.
      const like = all.map(at).filter((v) => typeof v === 'object' && v !== null && Array.isArray(v) === Array.isArray(value))
      set(place, structuredClone(r.pick(like)))
    }
  }
}

/** JSON with a few values changed, sometimes with a few bytes changed as well. */
export function mutateJson(r: Random, text: string): Uint8Array {
  const value: unknown = JSON.parse(text)
  if (r.next() < 0.9) mutateTree(r, value, true)
  const bytes = new TextEncoder().encode(JSON.stringify(value))
  return r.next() < 0.15 ? mutateBytes(r, bytes) : bytes
}
