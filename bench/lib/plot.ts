/** One family under one cap as a drawing: a row per case, a dot per contender, how many times as long as Tersor it takes. */
import type * as PlotModule from '@observablehq/plot'
import { families } from '../cases/index.js'
import type { ResultFile } from './results.js'

const PALETTE = ['#3b6fb6', '#c8553d', '#3f8f6b', '#8a5aa8', '#b8862b', '#4f9da6', '#7a7a7a', '#d98cb3', '#5b7d2e', '#a06a42', '#9aa7b5']

interface DomElement {
  readonly outerHTML: string
  querySelector(selector: string): DomElement | null
  setAttribute(name: string, value: string): void
  insertBefore(child: unknown, before: unknown): void
  readonly firstChild: unknown
}

/** SVG text on a white ground, drawn without a browser. */
export async function familyPlot(file: ResultFile): Promise<string> {
  const [plot, dom] = (await Promise.all([import('@observablehq/plot'), import('linkedom')])) as [
    typeof PlotModule,
    { parseHTML(html: string): { document: object } },
  ]
  const { document } = dom.parseHTML('<!doctype html><html><body></body></html>')
  const title = families.find((f) => f.name === file.family)?.title ?? file.family
  const rowOf = (m: { case: string; threads: number }): string => `${m.case}, ${m.threads}T`
  const rows = file.cases.map(rowOf)
  const dots = file.cases.flatMap((m) => [
    ...m.figures
      .filter((f) => f.ratio !== null && f.ratio > 0)
      .map((f) => ({ row: rowOf(m), name: f.contender, ratio: f.ratio!, lo: f.ratioQ1!, hi: f.ratioQ3! })),
    ...(m.limit?.fraction ? [{ row: rowOf(m), name: 'limit', ratio: m.limit.fraction, lo: m.limit.fraction, hi: m.limit.fraction }] : []),
  ])
  const names = [...new Set(dots.map((d) => d.name))]
  const marginLeft = Math.max(10, ...rows.map((r) => r.length)) * 6.6 + 16
  const colors = names.map((name, i) => (name === 'limit' ? '#222' : PALETTE[i % PALETTE.length]!))
  const figure = plot.plot({
    document: document as never,
    width: 900,
    height: 110 + rows.length * 22,
    marginLeft,
    marginRight: 24,
    marginTop: 56,
    style: { fontFamily: 'system-ui, sans-serif', fontSize: '12px', background: 'white', color: '#222' },
    x: {
      type: 'log',
      label: `time over ${names[0] ?? 'Tersor'}'s (right of 1: Tersor is faster) · ${title} · at most ${file.isa}`,
      grid: true,
      tickFormat: (x: number) => `${x}x`,
      ticks: 8,
    },
    y: { domain: rows, label: null, grid: true },
    symbol: { domain: names, range: names.map((name) => (name === 'limit' ? 'times' : 'circle')) },
    color: { domain: names, range: colors },
    marks: [
      plot.ruleX([1], { stroke: '#999' }),
      plot.ruleY(dots, { y: 'row', x1: 'lo', x2: 'hi', stroke: 'name', strokeOpacity: 0.5 }),
      plot.dot(dots, {
        x: 'ratio',
        y: 'row',
        fill: 'name',
        stroke: 'name',
        symbol: 'name',
        r: 4,
        title: (d: (typeof dots)[number]) => `${d.name}: ${d.ratio}x`,
      }),
      // The legend: names above the frame, in their colours; one mark each, since a mark has one offset.
      ...names.map((name, i) =>
        plot.text([name], {
          frameAnchor: 'top-left',
          dx: (i % 5) * 172 - marginLeft + 12,
          dy: -48 + Math.floor(i / 5) * 15,
          text: () => (name === 'limit' ? '× limit' : `● ${name}`),
          fill: colors[i]!,
          textAnchor: 'start',
        }),
      ),
    ],
  }) as unknown as DomElement
  const svg = figure.querySelector('svg') ?? figure
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
  svg.setAttribute('role', 'img')
  svg.setAttribute('aria-label', `${title}: time of each contender over Tersor's`)
  return `${svg.outerHTML}\n`
}
