/** Plots as SVG text, drawn by Observable Plot on a DOM without a browser. Colours come from CSS variables of the page. */
import type * as PlotModule from '@observablehq/plot'
import { formatBytes, formatPercent } from './format.js'
import type { CurvePlot, LayerRow, Variant } from './types.js'

type Plot = typeof PlotModule
// What we use of a DOM: the package is compiled without the browser's types.
type DomDocument = NonNullable<PlotModule.PlotOptions['document']>
interface DomElement {
  readonly tagName: string
  readonly outerHTML: string
  querySelector(selector: string): DomElement | null
  setAttribute(name: string, value: string): void
}
let tools: Promise<{ plot: Plot; document: DomDocument }> | undefined

// Both libraries are only needed when a page is written, and take 100 ms to load.
function load(): Promise<{ plot: Plot; document: DomDocument }> {
  return (tools ??= Promise.all([import('@observablehq/plot'), import('linkedom')]).then(([plot, dom]) => ({
    plot,
    document: dom.parseHTML('<!doctype html><html><body></body></html>').document as unknown as DomDocument,
  })))
}

const PALETTE = ['#3b6fb6', '#c8553d', '#3f8f6b', '#8a5aa8', '#b8862b', '#4f9da6', '#7a7a7a']
const STYLE = { fontFamily: 'system-ui, sans-serif', fontSize: '12px', background: 'transparent', color: 'currentColor' }

function svgText(plotted: unknown): string {
  const element = plotted as DomElement
  const svg = element.tagName.toLowerCase() === 'svg' ? element : element.querySelector('svg')!
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
  svg.setAttribute('role', 'img')
  return svg.outerHTML
}

// 1, 2, 5, 10, ... of the unit: log axes otherwise crowd their labels.
function sizeTicks(lo: number, hi: number): number[] {
  const ticks: number[] = []
  for (let decade = 10 ** Math.floor(Math.log10(lo)); decade <= hi; decade *= 10)
    for (const m of [1, 2, 5]) if (decade * m >= lo && decade * m <= hi) ticks.push(decade * m)
  return ticks
}

/** File size (logarithmic) against the metric, with 95 % intervals. */
export async function sizeAccuracyPlot(variants: readonly Variant[]): Promise<string> {
  const { plot, document } = await load()
  const points = variants.map((v) => ({ ...v, mib: v.bytes / 2 ** 20, percent: v.value * 100, lo: v.interval[0] * 100, hi: v.interval[1] * 100 }))
  const lo = Math.min(...points.map((p) => p.lo))
  const hi = Math.max(...points.map((p) => p.hi))
  const pad = Math.max(0.2, (hi - lo) * 0.12)
  const sizes = points.map((p) => p.mib)
  const element = plot.plot({
    document,
    width: 640,
    height: 360,
    marginLeft: 56,
    marginBottom: 44,
    marginTop: 28,
    marginRight: 28,
    style: STYLE,
    x: { type: 'log', domain: [Math.min(...sizes) / 1.6, Math.max(...sizes) * 1.6], label: 'file size', tickFormat: (d: number) => formatBytes(d * 2 ** 20), ticks: sizeTicks(Math.min(...sizes) / 1.6, Math.max(...sizes) * 1.6), grid: true },
    y: { domain: [lo - pad, hi + pad], label: `${variants[0]?.metric ?? 'accuracy'} (%)`, grid: true },
    color: { domain: points.map((p) => p.name), range: PALETTE },
    marks: [
      plot.ruleX(points, { x: 'mib', y1: 'lo', y2: 'hi', stroke: 'name', strokeWidth: 1.5, strokeOpacity: 0.6 }),
      plot.dot(points, { x: 'mib', y: 'percent', fill: 'name', r: 5.5, title: (d: (typeof points)[number]) => `${d.name}: ${formatBytes(d.bytes)}, ${formatPercent(d.value, 2)}` }),
      plot.text(points, { x: 'mib', y: 'percent', text: 'name', dy: -13, fontWeight: 600, fill: 'currentColor', stroke: 'var(--page)', strokeWidth: 4, paintOrder: 'stroke' } as PlotModule.TextOptions),
    ],
  })
  return svgText(element)
}

/** Bytes of each weight before and after. */
export async function layerPlot(rows: readonly LayerRow[]): Promise<string> {
  const { plot, document } = await load()
  const shown = rows.filter((r) => r.before.bytes >= 256)
  const data = shown.flatMap((r) => [
    { path: r.path, what: 'before', kib: r.before.bytes / 1024 },
    { path: r.path, what: 'after', kib: r.after.bytes / 1024 },
  ])
  const longest = Math.max(8, ...shown.map((r) => r.path.length))
  const element = plot.plot({
    document,
    width: 640,
    height: 40 + shown.length * 34 + 36,
    marginLeft: Math.min(260, longest * 6.6 + 18),
    marginBottom: 40,
    style: STYLE,
    x: { label: 'KiB in the file', grid: true },
    y: { axis: null },
    fy: { label: null, domain: shown.map((r) => r.path) },
    color: { domain: ['before', 'after'], range: ['#9aa7b5', '#3b6fb6'] },
    marks: [plot.barX(data, { x: 'kib', y: 'what', fy: 'path', fill: 'what', sort: { y: null } }), plot.ruleX([0])],
  })
  return svgText(element)
}

/** Lines over epochs or rounds, with a legend of its own (the page shows it beside the plot). */
export async function curvePlot(c: CurvePlot): Promise<{ svg: string; legend: { name: string; color: string }[] }> {
  const { plot, document } = await load()
  const data = c.curves.flatMap((curve) => curve.points.map((p) => ({ name: curve.name, ...p })))
  const names = c.curves.map((curve) => curve.name)
  const xs = [...new Set(data.map((d) => d.x))].sort((a, b) => a - b)
  const element = plot.plot({
    document,
    width: 640,
    height: 320,
    marginLeft: 56,
    marginBottom: 44,
    marginTop: 30,
    style: STYLE,
    x: { label: c.xLabel, grid: true, ...(xs.every(Number.isInteger) && xs.length <= 20 ? { ticks: xs, tickFormat: 'd' } : {}) },
    y: { label: c.yLabel, grid: true, nice: true },
    color: { domain: names, range: PALETTE },
    marks: [plot.lineY(data, { x: 'x', y: 'y', stroke: 'name', strokeWidth: 2 }), plot.dot(data, { x: 'x', y: 'y', fill: 'name', r: 2.5 })],
  })
  return { svg: svgText(element), legend: names.map((name, i) => ({ name, color: PALETTE[i % PALETTE.length]! })) }
}
