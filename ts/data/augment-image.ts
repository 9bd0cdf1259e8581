/** Changes of one image [C, H, W] in place; numbers are pixels, 0 is black. Random choices come from the caller. */
import type { SampleRng } from './sample-rng.js'

export interface ImageSize {
  readonly channels: number
  readonly height: number
  readonly width: number
}

/**
 * Shift by whole pixels, mirrored or not: random crop of the padded image (He et al. 2016, section 4.2) and horizontal flip in one copy.
 * out(y, x) = in(y + dy, x' + dx) with x' = W - 1 - x when flipped; what lies outside is `fill`.
 */
export function shiftFlip(
  image: Float32Array,
  { channels, height: h, width: w }: ImageSize,
  dy: number,
  dx: number,
  flip: boolean,
  fill: number,
): void {
  const from = image.slice()
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < h; y++) {
      const sy = y + dy
      const to = (c * h + y) * w
      if (sy < 0 || sy >= h) {
        image.fill(fill, to, to + w)
        continue
      }
      const row = (c * h + sy) * w
      // Columns first .. last - 1 come from the image, the others are fill: sx = x + dx, mirrored w - 1 - x + dx.
      const first = Math.min(w, Math.max(0, flip ? dx : -dx))
      const last = Math.max(first, Math.min(w, flip ? w + dx : w - dx))
      image.fill(fill, to, to + first)
      if (flip) for (let x = first, at = row + w - 1 - first + dx; x < last; x++) image[to + x] = from[at--]!
      else image.set(from.subarray(row + first + dx, row + last + dx), to + first)
      image.fill(fill, to + last, to + w)
    }
}

export interface AffineChange {
  /** Radians, counter-clockwise. */
  readonly rotate: number
  readonly scale: number
  /** Radians. */
  readonly shear: number
  /** Pixels. */
  readonly dx: number
  readonly dy: number
}

/** out(p) = in(A^-1 (p - centre - d) + centre), bilinear; outside is `fill`. A = rotation x shear x scale. */
export function affine(image: Float32Array, { channels, height: h, width: w }: ImageSize, change: AffineChange, fill: number): void {
  const { rotate, scale, shear, dx, dy } = change
  const from = image.slice()
  const [cos, sin, tan] = [Math.cos(rotate), Math.sin(rotate), Math.tan(shear)]
  // A = scale * [cos, cos tan + sin; -sin, cos - sin tan] in image coordinates (y down), determinant scale^2.
  const a = (cos - sin * tan) / scale
  const b = -(cos * tan + sin) / scale
  const c = sin / scale
  const d = cos / scale
  const [cy, cx] = [(h - 1) / 2, (w - 1) / 2]
  const plane = h * w
  for (let y = 0; y < h; y++)
    for (let x = 0; x < w; x++) {
      const [u, v] = [x - cx - dx, y - cy - dy]
      const sx = a * u + b * v + cx
      const sy = c * u + d * v + cy
      const [x0, y0] = [Math.floor(sx), Math.floor(sy)]
      const [fx, fy] = [sx - x0, sy - y0]
      const to = y * w + x
      if (x0 >= 0 && x0 + 1 < w && y0 >= 0 && y0 + 1 < h) {
        for (let k = 0, at = y0 * w + x0; k < channels; k++, at += plane) {
          const top = from[at]! * (1 - fx) + from[at + 1]! * fx
          const bottom = from[at + w]! * (1 - fx) + from[at + w + 1]! * fx
          image[k * plane + to] = top * (1 - fy) + bottom * fy
        }
        continue
      }
      for (let k = 0; k < channels; k++) {
        const at = (yy: number, xx: number): number => (yy >= 0 && yy < h && xx >= 0 && xx < w ? from[k * plane + yy * w + xx]! : fill)
        const top = at(y0, x0) * (1 - fx) + at(y0, x0 + 1) * fx
        const bottom = at(y0 + 1, x0) * (1 - fx) + at(y0 + 1, x0 + 1) * fx
        image[k * plane + to] = top * (1 - fy) + bottom * fy
      }
    }
}

/** Brightness times `brightness`, then contrast about the mean grey (ITU-R 601 for three channels), each clamped to [0, 1]. */
export function brightnessContrast(
  image: Float32Array,
  { channels, height, width }: ImageSize,
  brightness: number,
  contrast: number,
): void {
  const clamp = (v: number): number => (v < 0 ? 0 : v > 1 ? 1 : v)
  if (brightness !== 1) for (let i = 0; i < image.length; i++) image[i] = clamp(image[i]! * brightness)
  if (contrast === 1) return
  const plane = height * width
  const weights = channels === 3 ? [0.299, 0.587, 0.114] : Array.from({ length: channels }, () => 1 / channels)
  let grey = 0
  weights.forEach((weight, c) => {
    let sum = 0
    for (let i = 0; i < plane; i++) sum += image[c * plane + i]!
    grey += (weight * sum) / plane
  })
  const offset = (1 - contrast) * grey
  for (let i = 0; i < image.length; i++) image[i] = clamp(contrast * image[i]! + offset)
}

/** Sets a rectangle of every channel; what sticks out of the image is cut off. */
export function fillBox(image: Float32Array, { channels, height: h, width: w }: ImageSize, box: Box, value: number): void {
  for (let c = 0; c < channels; c++)
    for (let y = Math.max(0, box.top); y < Math.min(h, box.bottom); y++) {
      const row = (c * h + y) * w
      image.fill(value, row + Math.max(0, box.left), row + Math.max(0, Math.min(w, box.right)))
    }
}

/** Rows top .. bottom - 1, columns left .. right - 1. */
export interface Box {
  readonly top: number
  readonly bottom: number
  readonly left: number
  readonly right: number
}

/** A box of this height and width around a point anywhere in the image. */
export function boxAround(rng: SampleRng, { height, width }: ImageSize, h: number, w: number): Box {
  const top = rng.int(height) - Math.floor(h / 2)
  const left = rng.int(width) - Math.floor(w / 2)
  return { top, bottom: top + h, left, right: left + w }
}

/** The box of random erasing (Zhong et al. 2017, arXiv 1708.04896, algorithm 1): share of area and aspect ratio drawn until it fits, at most 100 times. */
export function erasingBox(
  rng: SampleRng,
  { height, width }: ImageSize,
  area: readonly [number, number],
  aspect: readonly [number, number],
): Box | undefined {
  for (let attempt = 0; attempt < 100; attempt++) {
    const target = rng.between(...area) * height * width
    const ratio = Math.exp(rng.between(Math.log(aspect[0]), Math.log(aspect[1])))
    const h = Math.round(Math.sqrt(target * ratio))
    const w = Math.round(Math.sqrt(target / ratio))
    if (h < 1 || w < 1 || h > height || w > width) continue
    const top = rng.int(height - h + 1)
    const left = rng.int(width - w + 1)
    return { top, bottom: top + h, left, right: left + w }
  }
  return undefined
}
