/** Stored forms that readers expand to f32: IEEE half precision, and the affine integers of tfjs (value = code * scale + min). */

/** IEEE 754 binary16 to a JavaScript number, exactly. */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 31) return fraction ? NaN : sign * Infinity
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

/** Little-endian halves to f32 bytes. */
export function expandHalves(data: Uint8Array): Uint8Array {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  const out = new Float32Array(data.byteLength / 2)
  for (let i = 0; i < out.length; i++) out[i] = halfToNumber(view.getUint16(2 * i, true))
  return new Uint8Array(out.buffer)
}

/** Codes of one or two bytes to f32 or i32 bytes; integers are rounded half up, as tfjs does. */
export function expandAffine(data: Uint8Array, codeBytes: 1 | 2, scale: number, min: number, to: 'f32' | 'i32'): Uint8Array {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  const n = data.byteLength / codeBytes
  const out = to === 'f32' ? new Float32Array(n) : new Int32Array(n)
  for (let i = 0; i < n; i++) {
    const value = (codeBytes === 1 ? data[i]! : view.getUint16(2 * i, true)) * scale + min
    out[i] = to === 'f32' ? value : Math.round(value)
  }
  return new Uint8Array(out.buffer)
}
