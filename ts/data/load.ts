/** Loads a data set from its spec. */
import { AbortError } from '../base/errors.js'
import { loadIdx, loadNpz, type LoadOptions } from './arrays.js'
import type { Dataset } from './dataset.js'
import { parseDataSpec, type DataSpec } from './spec.js'
import { loadTable } from './table.js'

type Loader<S> = (spec: S, options: LoadOptions) => Dataset | Promise<Dataset>

const loaders: { readonly [F in DataSpec['format']]: Loader<Extract<DataSpec, { format: F }>> } & {
  readonly csv: typeof loadTable
  readonly tsv: typeof loadTable
} = { idx: loadIdx, npz: loadNpz, csv: loadTable, tsv: loadTable }

export async function loadData(spec: DataSpec | string, options: LoadOptions = {}): Promise<Dataset> {
  const parsed = typeof spec === 'string' ? parseDataSpec(spec) : spec
  if (options.signal?.aborted) throw new AbortError('ERR_ABORTED', 'data: cancelled before loading')
  const load = loaders[parsed.format] as Loader<DataSpec>
  return load(parsed, options)
}
