/** A report with everything in it, of any number of variants. */
import type { LayerRow, Report, Variant } from '../../ts/report/index.js'

export function variant(i: number, change: Partial<Variant> = {}): Variant {
  const bytes = Math.round(27_990_592 / (1 + i))
  return {
    name: `model ${i}`,
    bytes,
    ratio: 27_990_592 / bytes,
    metric: 'accuracy',
    value: 0.9483 - 0.01 * i,
    interval: [0.9275 - 0.01 * i, 0.9634 - 0.01 * i],
    n: 60_000,
    agreement: i === 0 ? 1 : 0.98,
    msPerExample: { p50: 7.9 / (1 + i), p95: 12.34, batch: 1 },
    density: i === 0 ? 1 : 0.168,
    ...change,
  }
}

export const layers: readonly LayerRow[] = [
  {
    path: 'fc1.weight',
    shape: [300, 784],
    before: { kind: 'f32', bytes: 940_800 },
    after: { kind: 'int8 sparse 16.8 %', bytes: 48_120, density: 0.168 },
    error: 0.1784,
  },
  {
    path: 'fc3.bias',
    shape: [10],
    before: { kind: 'f32', bytes: 40 },
    after: { kind: 'f32', bytes: 40, density: 1 },
    error: 0,
  },
]

export function report(variants: readonly Variant[], change: Partial<Report> = {}): Report {
  return {
    report: 1,
    title: 'A comparison',
    created: '2026-01-31T12:34:56.789Z',
    machine: {
      cpu: 'Processor 1',
      cores: 2,
      threads: 1,
      isa: 'avx2',
      memoryGiB: 23.5,
      os: 'Linux 6.1',
      node: 'v20.19.0',
      tersor: '0.1.0',
    },
    sections: [
      {
        title: 'Numbers',
        text: ['One paragraph.', 'Another one.'],
        variants,
        layers: { title: 'Weights', rows: layers },
        curves: [
          {
            title: 'Accuracy after each round',
            xLabel: 'round',
            yLabel: 'accuracy (%)',
            curves: ['rewinding', 'fine-tuning'].map((name, i) => ({
              name,
              points: [0, 1, 2, 3].map((x) => ({ x, y: 98 + x / 10 - i / 5 })),
            })),
          },
        ],
        recipes: { 'int8-static': { recipe: 1, seed: 0, stages: [[{ pass: 'quantize/static-int8', version: 1, options: {} }]] } },
      },
    ],
    ...change,
  }
}
