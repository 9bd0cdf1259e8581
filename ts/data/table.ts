/**
 * Data sets from csv and tsv files. One column is the label; either one more is the text, or all others are numbers. What is missing or not a number is an
 * error that names line and column: nothing is filled in.
 */
import { DataError, OptionError } from '../base/errors.js'
import type { LoadOptions } from './arrays.js'
import { encodeLabels, numberDataset, textDataset, type Dataset } from './dataset.js'
import type { TableSpec } from './spec.js'
import { Floats, readTable, type ColumnNames } from './table-reader.js'

/** The column of the label: `label=`, else the one of that name, else of csv the last. */
export function labelColumn(columns: ColumnNames, spec: TableSpec, option = 'label'): number {
  const last = spec.format === 'csv' && !columns.names.includes('label') ? String(columns.names.length - 1) : 'label'
  return columns.find(spec.label ?? last, option)
}

class Rows {
  readonly label: number
  readonly text: number | undefined
  readonly labels: string[] = []
  readonly texts: string[] = []
  readonly features = new Floats()

  constructor(
    readonly columns: ColumnNames,
    spec: TableSpec,
  ) {
    this.label = labelColumn(columns, spec)
    const text = spec.text ?? (spec.format === 'tsv' ? 'text' : undefined)
    this.text = text === undefined ? undefined : columns.find(text, 'text')
    if (this.text === this.label)
      throw new DataError('ERR_DATA', `${columns.file}: text and label are the same column`, {
        details: { column: columns.names[this.label] },
      })
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
    record.forEach((field, i) => {
      if (i !== this.label) this.features.push(columns.number(field, row, i))
    })
  }
}

export async function loadTable(spec: TableSpec, options: LoadOptions = {}): Promise<Dataset> {
  const name = `${spec.format}:${spec.path}`
  if (spec.target !== undefined)
    throw new OptionError('ERR_OPTION', `${name}: target= names numbers to predict (regression); the column of classes is label=`)
  let rows: Rows | undefined
  await readTable(name, spec, options, (columns) => {
    const made = (rows = new Rows(columns, spec))
    return (record, line) => made.add(record, line)
  })
  const { labels, classes } = encodeLabels(name, rows!.labels, options.classes)
  if (rows!.text !== undefined) return textDataset({ name, texts: rows!.texts, labels, classes })
  const inputShape = [rows!.columns.names.length - 1]
  return numberDataset({ name, features: rows!.features.take(), inputShape, labels, classes })
}
