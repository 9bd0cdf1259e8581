/**
 * What every command does the same way: results go to stdout (a table, or one JSON value with --json), progress to stderr, Ctrl-C
 * becomes an AbortSignal (a second one ends the process), errors become one line and an exit code; with --json also {"error": {...}} on stdout.
 */
import Table from 'cli-table3'
import { SingleBar } from 'cli-progress'
import { isTersorError } from '../base/errors.js'
import { formatDuration } from '../report/format.js'
import type { Table as TableData } from '../report/tables.js'
import { colors, io } from './io.js'

export const EXIT = { ok: 0, failure: 1, usage: 2, interrupted: 130 } as const

export interface Progress {
  update(done: number, note?: string): void
  end(): void
}

export interface Ui {
  readonly json: boolean
  readonly signal: AbortSignal
  /** A line for people; silent with --json. */
  say(text: string): void
  table(table: TableData): void
  /** The result: printed as JSON with --json. */
  result(value: unknown): void
  /** A progress bar with ETA on a terminal; elsewhere a line every few seconds. Shows itself only when the work takes over a second. */
  progress(label: string, total: number): Progress
}

/** Ctrl-C asks for a stop; a second one ends the process. Whoever calls a command in-process has its own signals. */
function onSignals(controller: AbortController): () => void {
  if (io() !== process) return () => undefined
  const stop = (): void => {
    // eslint-disable-next-line no-restricted-properties -- asked twice: the work does not come to its safe point
    if (controller.signal.aborted) process.exit(EXIT.interrupted)
    process.stderr.write('\nstopping at the next safe point (press again to end at once)\n')
    controller.abort()
  }
  // The reader of a pipe may go (`| head`): what is left of the output is dropped, the work goes on.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (e: NodeJS.ErrnoException) => {
      if (e.code !== 'EPIPE') throw e
    })
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  return () => {
    process.removeListener('SIGINT', stop)
    process.removeListener('SIGTERM', stop)
  }
}

function makeUi(json: boolean, signal: AbortSignal): Ui {
  const { stdout, stderr } = io()
  return {
    json,
    signal,
    say: (text) => {
      if (!json) stdout.write(`${text}\n`)
    },
    table: (t) => {
      if (!json) stdout.write(`${renderTable(t)}\n`)
    },
    result: (value) => {
      if (json) stdout.write(`${JSON.stringify(value, null, 2)}\n`)
    },
    progress: (label, total) => (stderr.isTTY ? terminalBar(label, total) : lineProgress(label, total)),
  }
}

export function renderTable(t: TableData): string {
  const table = new Table({
    head: t.head.map((h) => colors().bold(h)),
    colAligns: t.numeric.map((n) => (n ? 'right' : 'left')),
    style: { head: [], border: colors().isColorSupported && io().stdout.isTTY ? ['gray'] : [], compact: true },
  })
  for (const row of t.rows) table.push([...row])
  return table.toString()
}

function terminalBar(label: string, total: number): Progress {
  let bar: SingleBar | undefined
  const started = Date.now()
  return {
    update: (done, note = '') => {
      if (!bar && Date.now() - started > 1000) {
        bar = new SingleBar({
          format: `${label.padEnd(24)} {bar} {percentage}% | ETA {eta_formatted} | {note}`,
          stream: process.stderr,
          hideCursor: true,
          clearOnComplete: true,
          barsize: 28,
          etaBuffer: 40,
        })
        bar.start(total, done, { note })
      } else bar?.update(done, { note })
    },
    end: () => bar?.stop(),
  }
}

function lineProgress(label: string, total: number): Progress {
  const started = Date.now()
  let last = started
  return {
    update: (done, note = '') => {
      const now = Date.now()
      if (now - last < 5000 || done <= 0) return
      last = now
      const left = ((now - started) / 1000 / done) * (total - done)
      io().stderr.write(`${label}: ${Math.floor((done / total) * 100)} %, about ${formatDuration(left)} left${note ? ` (${note})` : ''}\n`)
    },
    end: () => undefined,
  }
}

/** Runs a command's body; prints what went wrong and sets the exit code. `stopped` says after Ctrl-C how to go on. */
export async function runCommand(json: boolean, body: (ui: Ui) => Promise<void>, stopped = ''): Promise<void> {
  const controller = new AbortController()
  const quiet = onSignals(controller)
  try {
    await body(makeUi(json, controller.signal))
  } catch (e) {
    io().exitCode = report(e, json, stopped)
  } finally {
    quiet()
  }
}

export const RESUME = 'what was finished is kept: run the same command with --resume to go on'

function report(e: unknown, json: boolean, stopped: string): number {
  const known = isTersorError(e)
  const code = known ? e.code : 'ERR_INTERNAL'
  if (json) {
    const error = { code, message: (e as Error).message, ...(known ? { details: e.details } : {}) }
    io().stdout.write(`${JSON.stringify({ error }, null, 2)}\n`)
  }
  if (code === 'ERR_ABORTED') {
    io().stderr.write(`stopped${stopped === '' ? '' : `; ${stopped}`}\n`)
    return EXIT.interrupted
  }
  io().stderr.write(`${colors().red('error')} ${known ? `${code}: ${e.message}` : ((e as Error).stack ?? String(e))}\n`)
  return code === 'ERR_OPTION' ? EXIT.usage : EXIT.failure
}
