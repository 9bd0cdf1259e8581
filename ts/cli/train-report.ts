/** Curves of a training, collected from its events, and the page that shows them. */
import type { EpochRecord } from '../compress/outcome.js'
import type { TrainEvent } from '../compress/events.js'
import { plainSettings, type TrainSettings } from '../compress/train/settings.js'
import { writeFileAtomic } from '../formats/index.js'
import { formatCount, formatNumber } from '../report/format.js'
import { machineFacts, reportHtml, type Curve, type CurvePlot } from '../report/index.js'

/** Most points of a line: more than a page is wide. */
const POINTS = 800

type Point = Curve['points'][number]

export interface TrainCurves {
  readonly loss: readonly Point[]
  readonly lr: readonly Point[]
}

/** Thins a line evenly when it is full: a long training keeps its shape in constant memory. */
class Line {
  #points: Point[] = []
  #every = 1
  #seen = 0

  add(x: number, y: number): void {
    if (this.#seen++ % this.#every !== 0) return
    this.#points.push({ x, y })
    if (this.#points.length < 2 * POINTS) return
    this.#points = this.#points.filter((_, i) => i % 2 === 0)
    this.#every *= 2
  }

  take(): readonly Point[] {
    return [...this.#points]
  }
}

/** A listener for `onEvent` that keeps loss and rate by step. */
export function trainCurves(): { readonly see: (e: TrainEvent) => void; readonly take: () => TrainCurves } {
  const [loss, lr] = [new Line(), new Line()]
  return {
    see: (e) => {
      if (e.type !== 'train-step') return
      loss.add(e.step, e.loss)
      lr.add(e.step, e.lr)
    },
    take: () => ({ loss: loss.take(), lr: lr.take() }),
  }
}

export interface TrainReportFacts {
  readonly architecture: string
  readonly facts: string
  readonly parameters: number
  readonly settings: TrainSettings
  readonly epochs: readonly EpochRecord[]
  readonly curves: TrainCurves
}

/** Plots of what there are points of. */
export function trainPlots({ curves, epochs }: Pick<TrainReportFacts, 'curves' | 'epochs'>): CurvePlot[] {
  const names = [...new Set(epochs.flatMap((e) => Object.keys(e.metrics ?? {})))]
  const overSteps = (title: string, name: string, points: readonly Point[]): CurvePlot => ({
    title,
    xLabel: 'step',
    yLabel: name,
    curves: [{ name, points }],
  })
  const overEpochs = (title: string, name: string, of: (e: EpochRecord) => number | undefined): CurvePlot => ({
    title,
    xLabel: 'epoch',
    yLabel: name,
    curves: [{ name, points: epochs.flatMap((e) => (of(e) === undefined ? [] : [{ x: e.epoch, y: of(e)! }])) }],
  })
  return [
    overSteps('Training loss', 'loss', curves.loss),
    overEpochs('Mean training loss of each epoch', 'loss', (e) => e.loss),
    ...names.map((name) => overEpochs(`On the validation data: ${name}`, name, (e) => e.metrics?.[name])),
    overSteps('Learning rate', 'learning rate', curves.lr),
  ].filter((plot) => plot.curves[0]!.points.length > 0)
}

export async function writeTrainReport(file: string, facts: TrainReportFacts): Promise<void> {
  const { architecture, settings, epochs } = facts
  const last = epochs.at(-1)
  const page = await reportHtml({
    report: 1,
    title: `Training of ${architecture}`,
    created: new Date().toISOString(),
    machine: machineFacts(),
    sections: [
      {
        title: architecture,
        text: [
          `${formatCount(facts.parameters)} parameters; ${facts.facts}.`,
          ...(last ? [`${epochs.length} epochs, mean loss of the last one ${formatNumber(last.loss)}.`] : []),
        ],
        variants: [],
        curves: trainPlots(facts),
        recipes: { settings: plainSettings(settings) },
      },
    ],
  })
  writeFileAtomic(file, [new TextEncoder().encode(page)])
}
