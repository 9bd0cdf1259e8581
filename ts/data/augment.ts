/**
 * Image augmentation of batches [B, C, H, W] with pixels in [0, 1]. What happens to a sample depends on (seed, epoch, sample index) alone, mixing on (seed,
 * epoch, batch): the same with any number of workers, and after a resume. Settings: augment-settings.ts.
 *
 * The order is fixed: crop and flip, affine, brightness and contrast, erasing, cutout, mixing, normalisation.
 */
import { OptionError, ShapeError } from '../base/errors.js'
import type { Augment } from './augment-settings.js'
import { affine, boxAround, brightnessContrast, erasingBox, fillBox, shiftFlip, type ImageSize } from './augment-image.js'
import type { NumberBatch } from './dataset.js'
import { SampleRng } from './sample-rng.js'

export interface AugmentContext {
  readonly seed: number
  readonly epoch: number
  /** Number of the batch within the epoch: mixing depends on it. */
  readonly batch: number
  /** Index of each sample in the data set. */
  readonly indices: ArrayLike<number>
}

export interface AugmentedBatch extends NumberBatch {
  /** Present after mixup or cutmix: the loss is share * loss(labels) + (1 - share) * loss(mixed.labels). */
  readonly mixed?: { readonly labels: Int32Array; readonly share: number }
}

const sampleRng = new SampleRng(0x61756731)
const batchRng = new SampleRng(0x61756732)
const DEGREE = Math.PI / 180

function augmentImage(image: Float32Array, size: ImageSize, a: Augment, rng: SampleRng): void {
  const fill = a.fill ?? 0
  if (a.crop || a.flip !== undefined) {
    const { padding = 0 } = a.crop ?? {}
    const dy = a.crop ? rng.int(2 * padding + 1) - padding : 0
    const dx = a.crop ? rng.int(2 * padding + 1) - padding : 0
    const flip = a.flip !== undefined && rng.uniform() < a.flip
    if (dy !== 0 || dx !== 0 || flip) shiftFlip(image, size, dy, dx, flip, fill)
  }
  if (a.affine) {
    const { rotate, scale, shear, translate } = a.affine
    const change = {
      rotate: rng.between(-rotate, rotate) * DEGREE,
      scale: rng.between(1 - scale, 1 + scale),
      shear: rng.between(-shear, shear) * DEGREE,
      dx: rng.between(-translate, translate) * size.width,
      dy: rng.between(-translate, translate) * size.height,
    }
    affine(image, size, change, fill)
  }
  if (a.brightness !== undefined || a.contrast !== undefined) {
    const { brightness = 0, contrast = 0 } = a
    brightnessContrast(image, size, rng.between(1 - brightness, 1 + brightness), rng.between(1 - contrast, 1 + contrast))
  }
  if (a.erase && rng.uniform() < a.erase.probability) {
    const box = erasingBox(rng, size, a.erase.area, a.erase.aspect)
    if (box) fillBox(image, size, box, fill)
  }
  for (let i = 0; i < (a.cutout?.count ?? 0); i++) fillBox(image, size, boxAround(rng, size, a.cutout!.size, a.cutout!.size), fill)
}

/** Each sample with the one that a random rotation of the batch's order puts in its place; one share for the batch. */
function mix(x: Float32Array, size: ImageSize, labels: Int32Array, a: Augment, rng: SampleRng): AugmentedBatch['mixed'] {
  const kind = a.mixup && a.cutmix ? (rng.uniform() < 0.5 ? 'mixup' : 'cutmix') : a.mixup ? 'mixup' : 'cutmix'
  const { alpha: shape, probability: often } = a[kind]!
  const n = labels.length
  if (rng.uniform() >= often || n < 2) return undefined
  let share = rng.beta(shape)
  const order = Array.from({ length: n }, (_, i) => i)
  for (let i = n - 1; i > 0; i--) {
    const j = rng.int(i + 1)
    ;[order[i], order[j]] = [order[j]!, order[i]!]
  }
  const row = size.channels * size.height * size.width
  const from = x.slice()
  if (kind === 'mixup') {
    for (let i = 0; i < n; i++)
      for (let k = 0, other = order[i]! * row; k < row; k++) x[i * row + k] = share * from[i * row + k]! + (1 - share) * from[other + k]!
  } else {
    const cut = Math.sqrt(1 - share)
    const { top, bottom, left, right } = boxAround(rng, size, Math.floor(size.height * cut), Math.floor(size.width * cut))
    const [y0, y1, x0, x1] = [Math.max(0, top), Math.min(size.height, bottom), Math.max(0, left), Math.min(size.width, right)]
    for (let i = 0; i < n; i++)
      for (let c = 0; c < size.channels; c++)
        for (let y = y0; y < y1; y++) {
          const at = (c * size.height + y) * size.width
          x.set(from.subarray(order[i]! * row + at + x0, order[i]! * row + at + Math.max(x0, x1)), i * row + at + x0)
        }
    share = 1 - (Math.max(0, y1 - y0) * Math.max(0, x1 - x0)) / (size.height * size.width)
  }
  return { labels: Int32Array.from(order, (i) => labels[i]!), share }
}

function normalize(x: Float32Array, { channels, height, width }: ImageSize, { mean, std }: NonNullable<Augment['normalize']>): void {
  for (const [name, list] of Object.entries({ mean, std }))
    if (list.length !== 1 && list.length !== channels)
      throw new OptionError('ERR_OPTION', `augment: /normalize/${name}: needs 1 or ${channels} numbers, got ${list.length}`)
  const plane = height * width
  for (let at = 0; at < x.length; at += plane) {
    const c = (at / plane) % channels
    const shift = mean[mean.length === 1 ? 0 : c]!
    const factor = 1 / std[std.length === 1 ? 0 : c]!
    for (let i = at; i < at + plane; i++) x[i] = (x[i]! - shift) * factor
  }
}

/**
 * Augments a batch of images [B, C, H, W] or [B, H, W], in place: `batch.x` is changed and given back.
 *
 * - samples that are no images: ERR_SHAPE; `normalize` of another number of channels: ERR_OPTION
 *
 * @example
 * import { augmentBatch, augmentSettings } from 'tersor/data'
 * const settings = augmentSettings({ crop: { padding: 4 }, flip: 0.5 })
 * const batch = { x: new Float32Array(2 * 3 * 8 * 8).fill(1), shape: [2, 3, 8, 8], labels: Int32Array.of(0, 1) }
 * augmentBatch(batch, settings, { seed: 1, epoch: 0, batch: 0, indices: [17, 4] })
 */
export function augmentBatch(batch: NumberBatch, settings: Augment, context: AugmentContext): AugmentedBatch {
  const { x, shape, labels } = batch
  if (shape.length !== 3 && shape.length !== 4)
    throw new ShapeError('ERR_SHAPE', `augment: samples must be images [C, H, W] or [H, W], the batch is [${shape.join(', ')}]`)
  const [count, ...sample] = shape as [number, ...number[]]
  const [channels, height, width] = (sample.length === 2 ? [1, ...sample] : sample) as [number, number, number]
  const row = channels * height * width
  if (x.length !== count * row || context.indices.length !== count || labels.length !== count)
    throw new ShapeError(
      'ERR_SHAPE',
      `augment: [${shape.join(', ')}] needs ${count * row} numbers, ${count} labels and indices, got ${x.length}, ${labels.length} and ${context.indices.length}`,
    )
  const size = { channels, height, width }
  for (let i = 0; i < count; i++)
    augmentImage(x.subarray(i * row, (i + 1) * row), size, settings, sampleRng.at(context.seed, context.epoch, context.indices[i]!))
  const mixed =
    settings.mixup || settings.cutmix ? mix(x, size, labels, settings, batchRng.at(context.seed, context.epoch, context.batch)) : undefined
  if (settings.normalize) normalize(x, size, settings.normalize)
  return mixed ? { x, shape, labels, mixed } : { x, shape, labels }
}
