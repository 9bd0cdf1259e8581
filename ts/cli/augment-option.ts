/**
 * `--augment` of the command line: names with commas between them, each with a value behind "=" or its default. "crop,flip" pads by 4 and crops, flips half
 * of the images; "crop=2,rotate=10,mixup=0.2" pads by 2, turns by up to 10 degrees, mixes with Beta(0.2, 0.2). What each does: data/augment-settings.ts.
 */
import { InvalidArgumentError } from 'commander'
import { isTersorError } from '../base/errors.js'
import { augmentSettings, type AugmentInput } from '../data/augment-settings.js'

type Part = (value: number) => AugmentInput

const parts = {
  crop: [4, (padding) => ({ crop: { padding } })],
  flip: [0.5, (flip) => ({ flip })],
  rotate: [15, (rotate) => ({ affine: { rotate } })],
  scale: [0.1, (scale) => ({ affine: { scale } })],
  shear: [10, (shear) => ({ affine: { shear } })],
  translate: [0.1, (translate) => ({ affine: { translate } })],
  brightness: [0.2, (brightness) => ({ brightness })],
  contrast: [0.2, (contrast) => ({ contrast })],
  erase: [0.5, (probability) => ({ erase: { probability } })],
  cutout: [8, (size) => ({ cutout: { size } })],
  mixup: [1, (alpha) => ({ mixup: { alpha } })],
  cutmix: [1, (alpha) => ({ cutmix: { alpha } })],
  fill: [0, (fill) => ({ fill })],
} satisfies Record<string, readonly [number, Part]>

/** "crop (4), flip (0.5), ...", for help. */
export const augmentNames = Object.entries(parts)
  .map(([name, [value]]) => `${name} (${value})`)
  .join(', ')

/** A wrong name, value or one that comes twice is a usage error. */
export function augmentOption(text: string): AugmentInput {
  const seen = new Set<string>()
  let settings: AugmentInput = {}
  for (const item of text.split(',')) {
    const [name = '', given, ...rest] = item.split('=').map((s) => s.trim())
    if (!Object.hasOwn(parts, name)) throw new InvalidArgumentError(`knows ${Object.keys(parts).join(', ')}, not ${JSON.stringify(name)}.`)
    if (seen.has(name)) throw new InvalidArgumentError(`has ${name} twice.`)
    seen.add(name)
    const [usual, part] = parts[name as keyof typeof parts]
    const value = given === undefined ? usual : Number(given)
    if (given === '' || rest.length > 0 || !Number.isFinite(value))
      throw new InvalidArgumentError(`needs a number behind ${name}=, got ${JSON.stringify(item)}.`)
    const more: AugmentInput = part(value)
    settings = { ...settings, ...more, ...(more.affine ? { affine: { ...settings.affine, ...more.affine } } : {}) }
  }
  try {
    augmentSettings(settings)
  } catch (error) {
    if (isTersorError(error)) throw new InvalidArgumentError(`${error.message}.`)
    throw error
  }
  return settings
}
