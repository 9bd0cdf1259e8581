/**
 * Data sets from csv and tsv files. One column is the label; either one more is the text, or all others are numbers. What is missing or not a number is an
 * error that names line and column: nothing is filled in.
 */
import { DataError, OptionError } from '../base/errors.js'
import type { LoadOptions } from './arrays.js'
import { encodeLabels, numberDataset, textDataset, type Dataset } from './dataset.js'
import type { TableSpec } from './spec.js'
import { Floats, readTable, type ColumnNames } from './table-reader.js'

/** The column of the label: `label=`, else the only one beside a model's inputs, else the one of that name, else of csv the last. */
export function labelColumn(columns: ColumnNames, spec: TableSpec, inputNames: readonly string[] = [], option = 'label'): number {
  const others = columns.named && inputNames.length > 0 ? columns.names.filter((name) => !inputNames.includes(name)) : []
  if (spec.label === undefined && others.length === 1) return columns.names.indexOf(others[0]!)
  const last = spec.format === 'csv' && !columns.names.includes('label') ? String(columns.names.length - 1) : 'label'
  return columns.find(spec.label ?? last, option)
}

class Rows {
  readonly label: number
  readonly text: number | undefined
  /** Places of the features; none beside a text. */
  readonly inputs: readonly number[]
  readonly labels: string[] = []
  readonly texts: string[] = []
  readonly features = new Floats()

  constructor(
    readonly columns: ColumnNames,
    spec: TableSpec,
    inputNames?: readonly string[],
  ) {
    this.label = labelColumn(columns, spec, inputNames)
    const text = spec.text ?? (spec.format === 'tsv' ? 'text' : undefined)
    this.text = text === undefined ? undefined : columns.find(text, 'text')
    if (this.text === this.label)
      throw new DataError('ERR_DATA', `${columns.file}: text and label are the same column`, {
        details: { column: columns.names[this.label] },
      })
    this.inputs = this.text === undefined ? columns.features([this.label], inputNames) : []
  }

  add(record: readonly string[], row: number): void {
    const { columns } = this
    const label = record[this.label]!.trim()
    if (label === '') throw columns.fault(row, this.label, 'the label is missing')
    this.labels.push(label)
    if (this.text !== undefined) {
      const text = record[this.text]!
      if (text.trim() === '') throw columns.fault(row, this.text, 'the text is missing')
      this.texts.push(text)
      return
    }
    for (const i of this.inputs) this.features.push(columns.number(record[i]!, row, i))
  }
}

export async function loadTable(spec: TableSpec, options: LoadOptions = {}): Promise<Dataset> {
  const name = `${spec.format}:${spec.path}`
  if (spec.target !== undefined)
    throw new OptionError('ERR_OPTION', `${name}: target= names numbers to predict (regression); the column of classes is label=`)
  let rows: Rows | undefined
  await readTable(name, spec, options, (columns) => {
    const made = (rows = new Rows(columns, spec, options.inputNames))
    return (record, line) => made.add(record, line)
  })
  const { columns, inputs, text, texts, features } = rows!
  const { labels, classes } = encodeLabels(name, rows!.labels, options.classes)
  if (text !== undefined) return textDataset({ name, texts, labels, classes })
  const inputNames = columns.named ? inputs.map((i) => columns.names[i]!) : undefined
  return numberDataset({ name, features: features.take(), inputShape: [inputs.length], inputNames, labels, classes })
}
