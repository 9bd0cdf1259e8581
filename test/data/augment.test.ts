import { describe, expect, test } from 'vitest'
import { affine, brightnessContrast, erasingBox, shiftFlip } from '../../ts/data/augment-image.js'
import { augmentBatch, augmentSettings, type AugmentContext, type AugmentInput } from '../../ts/data/index.js'
import { SampleRng } from '../../ts/data/sample-rng.js'
import { errorOf } from '../formats/lib.js'

const size = { channels: 1, height: 3, width: 3 }
const image = (): Float32Array => Float32Array.from([1, 2, 3, 4, 5, 6, 7, 8, 9])
const DEGREE = Math.PI / 180
const still = { rotate: 0, scale: 1, shear: 0, dx: 0, dy: 0 }

describe('one image', () => {
  test('shift, flip', () => {
    const shifted = (dy: number, dx: number, flip: boolean): number[] => {
      const x = image()
      shiftFlip(x, size, dy, dx, flip, -1)
      return [...x]
    }
    expect(shifted(0, 0, true)).toEqual([3, 2, 1, 6, 5, 4, 9, 8, 7])
    expect(shifted(1, -1, false)).toEqual([-1, 4, 5, -1, 7, 8, -1, -1, -1])
    expect(shifted(1, -1, true)).toEqual([5, 4, -1, 8, 7, -1, -1, -1, -1]) // the crop, mirrored
    expect(shifted(5, 0, false)).toEqual(new Array(9).fill(-1))
  })

  test('shift and flip are what their definition says, pixel by pixel', () => {
    const wide = { channels: 2, height: 3, width: 5 }
    const from = Float32Array.from({ length: 30 }, (_, i) => i)
    for (const flip of [false, true])
      for (let dy = -4; dy <= 4; dy += 2)
        for (let dx = -6; dx <= 6; dx++) {
          const x = from.slice()
          shiftFlip(x, wide, dy, dx, flip, -1)
          const pixel = (i: number): number => {
            const [c, sy, sx] = [Math.floor(i / 15), Math.floor((i % 15) / 5) + dy, (flip ? 4 - (i % 5) : i % 5) + dx]
            return sy >= 0 && sy < 3 && sx >= 0 && sx < 5 ? from[c * 15 + sy * 5 + sx]! : -1
          }
          expect([...x]).toEqual(Array.from(from, (_, i) => pixel(i)))
        }
  })

  test('affine: quarter turns and whole moves are exact, halves interpolate', () => {
    const changed = (change: Partial<typeof still>): number[] => {
      const x = image()
      affine(x, size, { ...still, ...change }, 0)
      return [...x].map((v) => Math.round(v * 1e5) / 1e5)
    }
    expect(changed({})).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(changed({ rotate: 90 * DEGREE })).toEqual([3, 6, 9, 2, 5, 8, 1, 4, 7]) // counter-clockwise
    expect(changed({ rotate: 180 * DEGREE })).toEqual([9, 8, 7, 6, 5, 4, 3, 2, 1])
    expect(changed({ dx: 1 })).toEqual([0, 1, 2, 0, 4, 5, 0, 7, 8])
    expect(changed({ dy: -0.5 })).toEqual([2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 3.5, 4, 4.5])
    expect(changed({ shear: 45 * DEGREE })).toEqual([2, 3, 0, 4, 5, 6, 0, 7, 8])
    expect(changed({ scale: 2 })[4]).toBe(5)
  })

  test('brightness and contrast clamp; contrast 0 is the mean grey', () => {
    const x = Float32Array.from([0.2, 0.6, 0.4, 0.8])
    brightnessContrast(x, { channels: 1, height: 2, width: 2 }, 2, 1)
    expect([...x]).toEqual([0.4, 1, 0.8, 1].map(Math.fround))
    const rgb = Float32Array.from([1, 0, 0])
    brightnessContrast(rgb, { channels: 3, height: 1, width: 1 }, 1, 0)
    expect([...rgb]).toEqual([0.299, 0.299, 0.299].map(Math.fround))
  })

  test('erasing boxes lie inside and have the area asked for', () => {
    const rng = new SampleRng(1)
    for (let i = 0; i < 200; i++) {
      const box = erasingBox(rng.at(3, 0, i), { channels: 1, height: 32, width: 32 }, [0.1, 0.2], [0.5, 2])!
      expect(box.top >= 0 && box.left >= 0 && box.bottom <= 32 && box.right <= 32).toBe(true)
      const share = ((box.bottom - box.top) * (box.right - box.left)) / 1024
      expect(share).toBeGreaterThan(0.08)
      expect(share).toBeLessThan(0.22)
    }
    expect(erasingBox(rng.at(3, 0, 0), { channels: 1, height: 1, width: 1 }, [0, 0], [1, 1])).toBeUndefined()
  })
})

describe('the random numbers of a sample', () => {
  test('uniform, normal, gamma, beta have their moments', () => {
    const rng = new SampleRng(7)
    const moments = (draw: () => number): [number, number] => {
      const list = Array.from({ length: 20_000 }, draw)
      const mean = list.reduce((a, b) => a + b) / list.length
      return [mean, list.reduce((a, b) => a + (b - mean) ** 2, 0) / list.length]
    }
    let i = 0
    const each = (draw: (r: SampleRng) => number) => (): number => draw(rng.at(5, 2, i++))
    const close = ([mean, variance]: [number, number], m: number, v: number): void => {
      expect(Math.abs(mean - m)).toBeLessThan(0.03)
      expect(Math.abs(variance - v)).toBeLessThan(0.06)
    }
    close(moments(each((r) => r.uniform())), 0.5, 1 / 12)
    close(moments(each((r) => r.normal())), 0, 1)
    close(moments(each((r) => r.gamma(2))), 2, 2)
    close(moments(each((r) => r.beta(0.4))), 0.5, 1 / (4 * 1.8))
  })
})

describe('a batch', () => {
  const [count, shape] = [6, [3, 5, 5]]
  const row = 75
  const all: AugmentInput = {
    crop: { padding: 2 },
    flip: 0.5,
    affine: { rotate: 15, scale: 0.1, shear: 5, translate: 0.1 },
    brightness: 0.2,
    contrast: 0.2,
    erase: {},
    cutout: { size: 2 },
    normalize: { mean: [0.5], std: [0.25] },
  }
  const make = (indices: number[]): { x: Float32Array; shape: number[]; labels: Int32Array } => ({
    x: Float32Array.from({ length: indices.length * row }, (_, i) => ((indices[Math.floor(i / row)]! * 31 + (i % row) * 7) % 100) / 100),
    shape: [indices.length, ...shape],
    labels: Int32Array.from(indices),
  })
  const run = (input: AugmentInput, indices: number[], context: Partial<AugmentContext> = {}) =>
    augmentBatch(make(indices), augmentSettings(input), { seed: 9, epoch: 3, batch: 0, indices, ...context })

  test('a sample is the same in every batch and other in every epoch and with every seed', () => {
    const together = run(all, [4, 8, 15, 16, 23, 42]).x
    const apart = run(all, [16, 4], { batch: 7 }).x
    expect(apart.subarray(0, row)).toEqual(together.subarray(3 * row, 4 * row))
    expect(apart.subarray(row)).toEqual(together.subarray(0, row))
    expect(run(all, [4], { epoch: 4 }).x).not.toEqual(together.subarray(0, row))
    expect(run(all, [4], { seed: 10 }).x).not.toEqual(together.subarray(0, row))
    expect(together.every(Number.isFinite)).toBe(true)
  })

  test('nothing asked for, nothing changed', () => {
    const indices = [1, 2]
    expect(run({}, indices).x).toEqual(make(indices).x)
  })

  test('half of the images are flipped', () => {
    const indices = Array.from({ length: 400 }, (_, i) => i)
    const [before, after] = [make(indices).x, run({ flip: 0.5 }, indices).x]
    const flipped = indices.filter((i) => before[i * row] !== after[i * row] || before[i * row + 1] !== after[i * row + 1]).length
    expect(flipped).toBeGreaterThan(160)
    expect(flipped).toBeLessThan(240)
  })

  test('mixup adds up, cutmix says its share; both belong to the batch number', () => {
    const indices = Array.from({ length: count }, (_, i) => i)
    const from = make(indices).x
    const mixed = run({ mixup: { alpha: 0.4 } }, indices)
    const { labels, share } = mixed.mixed!
    expect(share > 0 && share < 1).toBe(true)
    for (let i = 0; i < count * row; i += 11) {
      const other = labels[Math.floor(i / row)]! * row + (i % row)
      expect(mixed.x[i]).toBeCloseTo(share * from[i]! + (1 - share) * from[other]!, 5)
    }
    expect(run({ mixup: { alpha: 0.4 } }, indices)).toEqual(mixed)
    expect(run({ mixup: { alpha: 0.4 } }, indices, { batch: 1 }).mixed).not.toEqual(mixed.mixed)
    for (let batch = 0; batch < 20; batch++) {
      const cut = run({ cutmix: {} }, indices, { batch })
      const own = cut.x.reduce(
        (n, v, i) => n + (v === from[i] && v !== from[cut.mixed!.labels[Math.floor(i / row)]! * row + (i % row)] ? 1 : 0),
        0,
      )
      const differ = from.reduce((n, v, i) => n + (v !== from[cut.mixed!.labels[Math.floor(i / row)]! * row + (i % row)] ? 1 : 0), 0)
      if (differ > 200) expect(own / differ).toBeCloseTo(cut.mixed!.share, 1)
    }
    expect(run({ mixup: { probability: 0 } }, indices).mixed).toBeUndefined()
    expect(run({ mixup: {} }, [3]).mixed).toBeUndefined()
  })

  test('bad settings and batches', () => {
    const bad: unknown[] = [
      { flip: 2 },
      { crop: { padding: -1 } },
      { crop: {} },
      { rotate: 3 },
      { mixup: { alpha: 0 } },
      { normalize: { mean: [], std: [1] } },
    ]
    for (const input of [...bad, { brightness: NaN }, { erase: { area: [0.5, 0.1] } }])
      expect(errorOf(() => augmentSettings(input as AugmentInput)).code, JSON.stringify(input)).toBe('ERR_OPTION')
    expect(errorOf(() => run({ normalize: { mean: [0, 0], std: [1] } }, [1])).code).toBe('ERR_OPTION')
    const flat = { x: new Float32Array(4), shape: [2, 2], labels: new Int32Array(2) }
    expect(errorOf(() => augmentBatch(flat, augmentSettings({}), { seed: 0, epoch: 0, batch: 0, indices: [0, 1] })).code).toBe('ERR_SHAPE')
    expect(errorOf(() => augmentBatch(make([1]), augmentSettings({}), { seed: 0, epoch: 0, batch: 0, indices: [0, 1] })).code).toBe(
      'ERR_SHAPE',
    )
  })
})
