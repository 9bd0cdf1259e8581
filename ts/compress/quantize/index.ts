/** Passes that store weights in fewer bits, as programs call them: quantize.gptq({ ... }). A new one: one file, one line here. */
import { adaround } from './adaround.js'
import { auto } from './auto.js'
import { awq } from './awq.js'
import { biasCorrection } from './bias-correction.js'
import { binary } from './binary.js'
import { cast } from './cast.js'
import { codebook } from './codebook.js'
import { dynamicInt8 } from './dynamic-int8.js'
import { equalize } from './equalize.js'
import { gptq } from './gptq.js'
import { hqq } from './hqq.js'
import { mixed } from './mixed.js'
import { qat } from './qat.js'
import { rtn } from './rtn.js'
import { smooth } from './smooth.js'
import { staticInt8 } from './static-int8.js'

export const quantize = {
  rtn,
  gptq,
  hqq,
  mixed,
  biasCorrection,
  dynamic: dynamicInt8,
  static: staticInt8,
  qat,
  smooth,
  equalize,
  auto,
  awq,
  adaround,
  codebook,
  cast,
  binary,
} as const
