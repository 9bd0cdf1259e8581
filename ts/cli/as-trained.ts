import { probeOf } from '../analyze/index.js'
import type { LoadOptions } from '../data/index.js'
import type { Model } from '../nn/index.js'

/** For reading data as the model was trained on it: its classes (of its probe, for embeddings) in their order, its columns by name. */
export function asTrained(model: Model): Pick<LoadOptions, 'classes' | 'inputNames'> {
  const { task, inputNames } = model.info
  const classes = task === 'embedding' ? probeOf(model)?.classes : model.info.classes
  return { ...(classes ? { classes } : {}), ...(inputNames ? { inputNames } : {}) }
}
