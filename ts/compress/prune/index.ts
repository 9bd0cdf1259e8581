/** Passes that remove weights, as programs call them: prune.magnitude({ ... }). A new one: one file, one line here. */
import { filters } from './filters.js'
import { gradient } from './gradient.js'
import { heads } from './heads.js'
import { layers } from './layers.js'
import { magnitude } from './magnitude.js'
import { movement } from './movement.js'
import { obd } from './obd.js'
import { obs } from './obs.js'
import { random } from './random.js'
import { rows } from './rows.js'
import { sparsegpt } from './sparsegpt.js'
import { wanda } from './wanda.js'

export const prune = { magnitude, gradient, obd, obs, wanda, sparsegpt, movement, random, filters, rows, heads, layers } as const
