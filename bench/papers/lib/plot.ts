/**
 * One metric of one table against the place on the curve: a line per method, bars of one standard deviation. Against bytes: points on a logarithmic axis, and the
 * front of those that nothing smaller reaches.
 */
import type * as PlotModule from '@observablehq/plot'
import { mean, type Row } from './paper.js'
import { sampleDeviation } from './spread.js'

const PALETTE = ['#3b6fb6', '#c8553d', '#3f8f6b', '#8a5aa8', '#b8862b', '#4f9da6', '#7a7a7a', '#d98cb3']

interface DomElement {
  readonly tagName: string
  readonly outerHTML: string
  querySelector(selector: string): DomElement | null
  setAttribute(name: string, value: string): void
}

/** SVG text on a white ground; undefined where no method has two places. */
export async function curvesPlot(title: string, rows: readonly Row[]): Promise<string | undefined> {
  const placed = rows.filter((r) => r.at !== undefined)
  const names = [...new Set(placed.map((r) => r.method))]
  if (!names.some((name) => new Set(placed.filter((r) => r.method === name).map((r) => r.at!.value)).size > 1)) return undefined
  const [plot, dom] = (await Promise.all([import('@observablehq/plot'), import('linkedom')])) as [
    typeof PlotModule,
    { parseHTML(html: string): { document: object } },
  ]
  const points = placed.map((row) => {
    const [y, spread] = [mean(row.values), sampleDeviation(row.values)]
    return { x: row.at!.value, y, lo: y - spread, hi: y + spread, method: row.method }
  })
  const colors = names.map((_, i) => PALETTE[i % PALETTE.length]!)
  const { metric, unit = '', at } = placed[0]!
  const legendRows = Math.ceil(names.length / 3)
  const sizes = at!.name === 'bytes'
  const long = points.length > 100
  const best = points.toSorted((a, b) => a.x - b.x || b.y - a.y).filter((p, i, all) => all.slice(0, i).every(({ y }) => y < p.y))
  const element = plot.plot({
    document: dom.parseHTML('<!doctype html><html><body></body></html>').document as never,
    width: 640,
    height: 320 + legendRows * 16,
    marginLeft: 56,
    marginTop: 28 + legendRows * 16,
    style: { fontFamily: 'system-ui, sans-serif', fontSize: '12px', background: 'white', color: '#222' },
    x: { label: at!.name, grid: true, ...(sizes ? { type: 'log', tickFormat: '~s' } : {}) },
    y: { label: `${metric}${unit && `, ${unit}`}`, grid: true },
    color: { domain: names, range: colors },
    marks: [
      ...(long ? [] : [plot.ruleX(points, { x: 'x', y1: 'lo', y2: 'hi', stroke: 'method', strokeOpacity: 0.6 })]),
      sizes
        ? plot.lineY(best, { x: 'x', y: 'y', curve: 'step-after', stroke: '#222', strokeDasharray: '4 3' })
        : plot.lineY(points, { x: 'x', y: 'y', z: 'method', stroke: 'method', sort: 'x' }),
      ...(long ? [] : [plot.dot(points, { x: 'x', y: 'y', fill: 'method', r: 3.5 })]),
      ...names.map((name, i) =>
        plot.text([name], {
          frameAnchor: 'top-left',
          dx: (i % 3) * 200,
          dy: -14 - (legendRows - 1 - Math.floor(i / 3)) * 16,
          textAnchor: 'start',
          fill: colors[i]!,
          fontWeight: 600,
        }),
      ),
    ],
  }) as unknown as DomElement
  const svg = element.tagName.toLowerCase() === 'svg' ? element : element.querySelector('svg')!
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
  svg.setAttribute('role', 'img')
  svg.setAttribute('aria-label', title)
  return svg.outerHTML
}
