/** Numbers with numbers to predict (regression): columns of csv and tsv files, arrays of npz. */
import { DataError, OptionError } from '../base/errors.js'
import { sizeOf } from '../base/shape.js'
import { readNpz } from '../formats/npz.js'
import { pick, toFeatures, usualX, usualY, type LoadOptions } from './arrays.js'
import { parseDataSpec, type DataSpec, type NpzSpec, type TableSpec } from './spec.js'
import { labelColumn } from './table.js'
import { Floats, readTable, type ColumnNames } from './table-reader.js'

/** Samples with `outputs` numbers to predict each; `regressionData` takes it as it is. */
export interface NumberTargets {
  readonly name: string
  /** Row-major [size, ...inputShape]. */
  readonly features: Float32Array
  readonly inputShape: readonly number[]
  /** What the features are called, where the file says it. */
  readonly inputNames?: readonly string[]
  /** Row-major [size, outputs]. */
  readonly targets: Float32Array
  readonly outputs: number
  /** What the targets are called, where the file says it. */
  readonly columns: readonly string[]
}

/** The columns that `target=` names: one, or several joined by "+". */
function targetColumns(columns: ColumnNames, spec: TableSpec, inputNames?: readonly string[]): number[] {
  const { target } = spec
  if (target === undefined) return [labelColumn(columns, spec, inputNames, 'target')]
  const names = columns.names.includes(target) ? [target] : target.split('+')
  const found = names.map((name) => columns.find(name, 'target'))
  const twice = found.find((at, i) => found.indexOf(at) !== i)
  if (twice !== undefined)
    throw new DataError('ERR_DATA', `${columns.file}: target= names column ${JSON.stringify(columns.names[twice])} twice`)
  return found
}

async function fromTable(spec: TableSpec, options: LoadOptions): Promise<NumberTargets> {
  const name = `${spec.format}:${spec.path}`
  if (spec.text !== undefined)
    throw new OptionError('ERR_OPTION', `${name}: numbers are predicted from numbers, text= is for classification`)
  if (spec.target !== undefined && spec.label !== undefined)
    throw new OptionError('ERR_OPTION', `${name}: target= and label= both name what is predicted; give one of them`)
  const [features, targets] = [new Floats(), new Floats()]
  let wanted: readonly string[] = []
  let inputs: readonly number[] = []
  let names: { inputNames?: readonly string[] } = {}
  await readTable(name, spec, options, (columns) => {
    const at = targetColumns(columns, spec, options.inputNames)
    wanted = at.map((i) => columns.names[i]!)
    inputs = columns.features(at, options.inputNames)
    if (columns.named) names = { inputNames: inputs.map((i) => columns.names[i]!) }
    if (inputs.length === 0) throw new DataError('ERR_DATA', `${name}: no column is left to predict ${wanted.join(', ')} from`)
    return (record, line) => {
      for (const i of at) targets.push(columns.number(record[i]!, line, i))
      for (const i of inputs) features.push(columns.number(record[i]!, line, i))
    }
  })
  const shape = { inputShape: [inputs.length], outputs: wanted.length }
  return { name, features: features.take(), ...names, ...shape, targets: targets.take(), columns: wanted }
}

function fromNpz(spec: NpzSpec, options: LoadOptions): NumberTargets {
  const name = `npz:${spec.path}`
  const tensors = readNpz(spec.path, options)
  const x = pick(name, tensors, 'features', spec.x, usualX)
  const y = pick(name, tensors, 'targets', spec.y, usualY)
  const [n = 0, outputs = 1] = y.shape
  if (y.shape.length < 1 || y.shape.length > 2 || x.shape.length < 2 || x.shape[0] !== n || n * outputs === 0)
    throw new DataError(
      'ERR_DATA',
      `${name}: targets must be [n] or [n, outputs] beside features [n, ...], got [${y.shape.join(', ')}] and [${x.shape.join(', ')}]`,
    )
  const scale = 1 / (spec.divide ?? 1)
  const features = Float32Array.from(toFeatures(`${name}: features`, x), (v) => v * scale)
  const targets = Float32Array.from(toFeatures(`${name}: targets`, y))
  const inputShape = x.shape.slice(1)
  if (sizeOf(inputShape) === 0) throw new DataError('ERR_DATA', `${name}: features are empty, [${x.shape.join(', ')}]`)
  return { name, features, inputShape, targets, outputs, columns: [] }
}

/**
 * Loads numbers with numbers to predict: `csv:FILE,target=COLUMN` (several: `target=A+B`; default the column of the label), `tsv:FILE,target=COLUMN`,
 * `npz:FILE` (y [n] or [n, outputs]). All other columns are features.
 *
 * - a form without numbers to predict (idx), a text, both target= and label=: ERR_OPTION; a column that is not there, a field that is not a finite number, no sample: ERR_DATA
 *
 * @example
 * const data = regressionData(await loadTargets('csv:houses.csv,target=price'))
 */
export async function loadTargets(given: DataSpec | string, options: LoadOptions = {}): Promise<NumberTargets> {
  const spec = typeof given === 'string' ? parseDataSpec(given) : given
  if (spec.format === 'idx')
    throw new OptionError('ERR_OPTION', `idx:${spec.path}: has classes; numbers to predict are read from csv, tsv and npz`)
  return spec.format === 'npz' ? fromNpz(spec, options) : fromTable(spec, options)
}
