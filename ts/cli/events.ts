/** Shows the events of a training or a compression: one bar for what runs now, a line for what is done. */
import type { JsonObject } from '../base/json-types.js'
import type { CompressEvent } from '../compress/events.js'
import { formatBytes, formatDuration, formatNumber, formatPercent } from '../report/format.js'
import { io } from './io.js'
import type { Progress, Ui } from './ui.js'

function placeText(at: { stage: number; stages: number; name: string } | undefined): string {
  return at ? (at.stages > 1 ? `stage ${at.stage + 1}/${at.stages} ${at.name}` : at.name) : ''
}

/** "stage 1/2 prune/magnitude: rounds 8, epochs 32". */
export function planText(at: { stage: number; stages: number; name: string } | undefined, plan: JsonObject): string {
  const facts = Object.entries(plan).map(([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
  return `${placeText(at)}: ${facts.join(', ') || 'nothing to plan'}`
}

/** Figures that are shares. */
const SHARES = new Set(['accuracy', 'balancedAccuracy', 'precision', 'recall', 'f1', 'macroF1', 'microF1'])

/** "accuracy 98.70 %, perplexity 93.21"; nothing for no figures. */
export function metricsText(metrics: Readonly<Record<string, number>> | undefined): string {
  return Object.entries(metrics ?? {})
    .map(([name, value]) => {
      if (!Number.isFinite(value)) return `${name} ${value}`
      return `${name} ${SHARES.has(name) ? formatPercent(value, 2) : String(Number(value.toPrecision(5)))}`
    })
    .join(', ')
}

/** A listener for `onEvent` that writes each event as one line of JSON to stderr. */
export function eventLines(): { readonly onEvent: (e: CompressEvent) => void; readonly end: () => void } {
  return { onEvent: (e) => void io().stderr.write(`${JSON.stringify(e)}\n`), end: () => undefined }
}

/** A listener for `onEvent`. `end()` takes a bar that is still there off the screen. */
export function eventView(ui: Ui): { readonly onEvent: (e: CompressEvent) => void; readonly end: () => void } {
  let bar: Progress | undefined
  let task = ''
  const close = (): void => {
    bar?.end()
    bar = undefined
    task = ''
  }
  const show = (name: string, total: number, done: number, note: string): void => {
    if (name !== task) {
      close()
      bar = ui.progress(name, total)
      task = name
    }
    bar?.update(done, note)
  }
  const onEvent = (e: CompressEvent): void => {
    switch (e.type) {
      case 'plan':
        ui.say(planText(e.at, e.plan as JsonObject))
        break
      case 'resume':
        ui.say(`resuming from checkpoint ${e.generation}${e.fallback ? ' (the newest one was damaged: this is the one before)' : ''}`)
        break
      case 'progress':
        show(e.task, e.total, e.done, '')
        if (e.done >= e.total) close()
        break
      case 'train-step':
        show(
          e.label,
          e.steps,
          e.step,
          `epoch ${e.epoch + 1}, loss ${formatNumber(e.loss)}, lr ${formatNumber(e.lr)}, ${Math.round(e.examplesPerSecond)}/s`,
        )
        break
      case 'train-epoch':
        close()
        ui.say(
          `${e.label}: epoch ${e.epoch}/${e.epochs}, loss ${formatNumber(e.loss)}${e.metrics ? `, ${metricsText(e.metrics)}` : ''}, ${formatDuration(e.seconds)}`,
        )
        break
      case 'train-resume':
        if (e.fallback)
          io().stderr.write(
            `warning: checkpoint ${e.fallback.generation} cannot be used (${e.fallback.reason}): going on from ${e.generation}, the one before\n`,
          )
        ui.say(`resuming at step ${e.step}`)
        break
      case 'pass-end':
        close()
        ui.say(`${placeText(e.at)}: ${formatBytes(e.bytesBefore)} -> ${formatBytes(e.bytesAfter)} in ${formatDuration(e.seconds)}`)
        break
      case 'warning':
        close()
        io().stderr.write(`warning: ${e.message}\n`)
        break
      case 'train-end':
      case 'run-end':
        close()
        break
      case 'run-start':
      case 'stage-start':
      case 'stage-end':
      case 'pass-start':
      case 'train-start':
      case 'checkpoint':
        break
    }
  }
  return { onEvent, end: close }
}
