/** Every pass: those of the package, listed here, and those that a program defined. A new pass: one file, one line here. */
import { RecipeError } from '../base/errors.js'
import { suggestion } from '../base/nearest.js'
import { definedPasses, type AnyPass } from './pass.js'
import { prune } from './prune/index.js'
import { adaround } from './quantize/adaround.js'
import { awq } from './quantize/awq.js'
import { auto } from './quantize/auto.js'
import { distillTrain } from './distill/train.js'
import { dual } from './dual/build.js'
import { biasCorrection } from './quantize/bias-correction.js'
import { binary } from './quantize/binary.js'
import { cast } from './quantize/cast.js'
import { codebook } from './quantize/codebook.js'
import { dynamicInt8 } from './quantize/dynamic-int8.js'
import { equalize } from './quantize/equalize.js'
import { gptq } from './quantize/gptq.js'
import { hqq } from './quantize/hqq.js'
import { mixed } from './quantize/mixed.js'
import { qat } from './quantize/qat.js'
import { rtn } from './quantize/rtn.js'
import { smooth } from './quantize/smooth.js'
import { staticInt8 } from './quantize/static-int8.js'
import { csr } from './sparsify/csr.js'
import { layout } from './sparsify/layout.js'

// Named here and used below, so that a bundler cannot drop the modules that define them.
const own = [
  ...Object.values(prune),
  distillTrain,
  rtn,
  gptq,
  hqq,
  mixed,
  biasCorrection,
  dynamicInt8,
  staticInt8,
  qat,
  smooth,
  equalize,
  auto,
  awq,
  adaround,
  codebook,
  cast,
  binary,
  csr,
  layout,
  dual,
] as const

/** Definitions by name. */
export function passDefinitions(): ReadonlyMap<string, AnyPass> {
  const all = new Map(own.map(({ definition }) => [definition.name, definition as unknown as AnyPass]))
  for (const [name, definition] of definedPasses()) all.set(name, definition)
  return all
}

/** The pass of that name; ERR_RECIPE with the nearest known name. */
export function passDefinition(name: string, pointer = ''): AnyPass {
  const all = passDefinitions()
  const found = all.get(name)
  if (found) return found
  throw new RecipeError(
    'ERR_RECIPE',
    `recipe${pointer && ` ${pointer}`}: unknown pass ${JSON.stringify(name.slice(0, 100))}${suggestion(name, [...all.keys()])}`,
    {
      details: { pointer },
    },
  )
}
