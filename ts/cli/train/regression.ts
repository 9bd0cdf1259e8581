/** Numbers from numbers: the architectures of classification with as many outputs as there are targets, which `affine` brings to the targets' units. */
import { DataError, OptionError } from '../../base/errors.js'
import { Rng } from '../../base/rng.js'
import { regression, regressionData, type RegressionData } from '../../compress/train/tasks/regression.js'
import { loadTargets, parseDataSpec, type DataSpec } from '../../data/index.js'
import { architectures, type ArchitectureName } from '../../models/index.js'
import { affine, build, freshValues, Model, sequential } from '../../nn/index.js'
import { formatCount } from '../../report/format.js'
import { asTrained } from '../as-trained.js'
import type { Ui } from '../ui.js'
import { columnMoments, normalization } from './classification.js'
import type { Kind, Prepared, TaskCliOptions } from './kind.js'

/** Held-out data of a model: where the spec names no target, the columns of the training. Another number of targets or features: ERR_DATA. */
export async function targetsFor(spec: string, model: Model, ui: Ui): Promise<RegressionData> {
  const { targets, inputShape, name } = model.info
  const parsed: DataSpec = parseDataSpec(spec)
  const isTable = parsed.format === 'csv' || parsed.format === 'tsv'
  const named = isTable && parsed.target === undefined && targets?.length ? { ...parsed, target: targets.join('+') } : parsed
  const found = await loadTargets(named, { signal: ui.signal, ...asTrained(model) })
  const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)
  if (inputShape && count(found.inputShape) !== count(inputShape))
    throw new DataError('ERR_DATA', `${found.name}: samples are [${found.inputShape.join(', ')}], ${name} takes [${inputShape.join(', ')}]`)
  if (targets?.length && targets.length !== found.outputs)
    throw new DataError('ERR_DATA', `${found.name}: has ${found.outputs} targets, ${name} predicts ${targets.join(', ')}`)
  return regressionData(found)
}

/** 'mse', 'huber' (in units of the targets' deviation) or 'huber=0.5'. */
function lossOf(text: string): 'mse' | { huber: number } {
  const huber = /^huber(?:=([0-9.eE+-]+))?$/.exec(text)
  const delta = huber?.[1] === undefined ? 1 : Number(huber[1])
  if (huber && delta > 0 && delta < Infinity) return { huber: delta }
  if (text !== 'mse') throw new OptionError('ERR_OPTION', `train: --loss must be mse, huber or huber=DELTA, got ${JSON.stringify(text)}`)
  return 'mse'
}

async function prepare(architecture: string, o: TaskCliOptions, ui: Ui): Promise<Prepared> {
  const loss = lossOf(o.loss ?? 'mse')
  const parts = await loadTargets(o.data, { signal: ui.signal })
  const data = regressionData(parts)
  const { outputs, targets, inputShape, inputNames, columns } = parts
  const made = architectures[architecture as ArchitectureName]({ inputShape, classes: outputs })
  const { mean, std } = columnMoments(outputs, [targets])
  const units = affine({ scale: std, shift: mean })
  const spec = made.spec.kind === 'sequential' ? sequential({ ...made.spec.children, units }) : sequential({ net: made.spec, units })
  const model = new Model(build(spec, freshValues(Rng.of(o.seed, 'init'))), {
    name: architecture,
    task: 'regression',
    inputShape: made.inputShape,
    normalize: normalization(data),
    ...(inputNames ? { inputNames } : {}),
    ...(columns.length > 0 ? { targets: columns } : {}),
    history: [],
  })
  const validation = o.validation === undefined ? undefined : await targetsFor(o.validation, model, ui)
  const named = columns.length > 0 ? ` (${columns.join(', ')})` : ''
  return {
    model,
    task: regression(data, { loss, scale: std, ...(validation ? { validation } : {}) }),
    facts: `${formatCount(data.size)} examples, ${outputs} ${outputs === 1 ? 'number' : 'numbers'} to predict${named}`,
    held: validation?.size ?? 0,
  }
}

export const regressors: Kind = {
  architectures: Object.keys(architectures),
  task: 'regression',
  options: ['loss'],
  defaults: { epochs: 20, batch: 64, lr: 0.003, optimizer: 'adam' },
  prepare,
}
