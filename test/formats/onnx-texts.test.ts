/** The table of an ONNX file's texts, with texts that a file chooses against it. */
import { describe, expect, it } from 'vitest'
import { Texts } from '../../ts/formats/onnx/texts.js'
import { cpuClock } from '../cpu-time.js'
import { random } from '../graph/build.js'

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_/'

/** 2^blocks texts of 4 letters a block with one hash (Joux 2004): from each state two blocks are sought that lead to the same next one. */
function colliding(blocks: number): Uint8Array[] {
  const draw = random(41)
  let state = 4 * blocks
  let found: number[][] = [[]]
  for (let b = 0; b < blocks; b++) {
    const seen = new Map<number, number[]>()
    for (;;) {
      const block = draw(4).map((v) => LETTERS.charCodeAt(Math.floor((v + 1) * 32)))
      let next = state
      for (const byte of block) next = Math.imul(next ^ byte, 0x01000193)
      const other = seen.get(next)
      seen.set(next, block)
      if (other === undefined || other.every((byte, i) => byte === block[i])) continue
      found = found.flatMap((text) => [
        [...text, ...other],
        [...text, ...block],
      ])
      state = next
      break
    }
  }
  return found.map((text) => Uint8Array.from(text))
}

describe('texts of a file', () => {
  it('that have one hash cost as much as others do', () => {
    const all = colliding(14)
    const length = all[0]!.length
    const bytes = new Uint8Array(all.length * length)
    all.forEach((text, i) => bytes.set(text, i * length))
    const texts = new Texts(bytes)
    const cpu = cpuClock()
    const got = all.map((_, i) => texts.read(i * length, (i + 1) * length))
    expect(cpu()).toBeLessThan(1000) // quadratic: three to six seconds
    expect(texts.size).toBe(64)
    expect(new Set(got).size).toBe(all.length)
    got.forEach((text, i) => expect(text).toBe(new TextDecoder().decode(all[i])))
    // Ordinary ones are still kept, beside these.
    const names = new TextEncoder().encode('first/second')
    bytes.set(names)
    for (let i = 0; i < 3; i++) expect([texts.read(0, 5), texts.read(6, 12)]).toEqual(['first', 'second'])
    expect(texts.size).toBe(66)
  })

  it('are found again beyond 2 GiB', () => {
    const bytes = new Uint8Array(2 ** 31 + 4096) // only what is written takes memory
    const ends = [2 ** 31 + 100, 2 ** 31 + 2000]
    const words = ['graph/first', 'graph/other'].map((w) => new TextEncoder().encode(w))
    for (const at of ends) words.forEach((word, i) => bytes.set(word, at + 32 * i))
    const texts = new Texts(bytes.subarray(32)) // as in a part of a file
    for (let n = 0; n < 100; n++)
      for (const at of ends) {
        expect(texts.read(at - 32, at - 21)).toBe('graph/first')
        expect(texts.read(at, at + 11)).toBe('graph/other')
      }
    expect(texts.size).toBe(2)
  })

  it('are kept when the table grows', () => {
    const words = Array.from({ length: 20_000 }, (_, i) => `value/${i}`)
    const bytes = new TextEncoder().encode(words.join(''))
    const texts = new Texts(bytes)
    for (let again = 0; again < 2; again++) {
      let at = 0
      for (const word of words) expect(texts.read(at, (at += word.length))).toBe(word)
    }
    expect(texts.size).toBe(words.length)
  })
})
