/**
 * Plots as SVG text, drawn by Observable Plot on a DOM without a browser, in two widths: scaled to a phone, the letters of a wide plot could
 * not be read. Colours come from CSS variables of the page.
 */
import type * as PlotModule from '@observablehq/plot'
import { formatBytes, formatPercent } from './format.js'
import type { CurvePlot, LayerRow, Variant } from './types.js'

/** A plot for wide and for narrow screens; the page shows the legend beside it. */
export interface Figure {
  readonly wide: string
  readonly narrow: string
  readonly legend: readonly { readonly name: string; readonly color: string }[]
}

type Plot = typeof PlotModule
// What we use of a DOM: the package is compiled without the browser's types.
type DomDocument = object
interface Dom {
  parseHTML(html: string): { readonly document: DomDocument }
}
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
    document: (dom as unknown as Dom).parseHTML('<!doctype html><html><body></body></html>').document,
  })))
}

export const WIDE = 720
export const NARROW = 360
const PALETTE = ['#3b6fb6', '#c8553d', '#3f8f6b', '#8a5aa8', '#b8862b', '#4f9da6', '#7a7a7a']
export const colorOf = (i: number): string => PALETTE[i % PALETTE.length]!

export type Draw = (plot: Plot, width: number) => PlotModule.PlotOptions

export async function figure(title: string, names: readonly string[], colors: readonly string[], draw: Draw): Promise<Figure> {
  const { plot, document } = await load()
  const svg = (width: number): string => {
    const style = { fontFamily: 'system-ui, sans-serif', fontSize: '12px', background: 'transparent', color: 'currentColor' }
    const element = plot.plot({ document, width, style, ...draw(plot, width) }) as unknown as DomElement
    const root = element.tagName.toLowerCase() === 'svg' ? element : element.querySelector('svg')!
    root.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
    root.setAttribute('role', 'img')
    root.setAttribute('aria-label', title)
    return root.outerHTML
  }
  return { wide: svg(WIDE), narrow: svg(NARROW), legend: names.map((name, i) => ({ name, color: colors[i]! })) }
}

// Powers of two: sizes are shown in KiB and MiB. At most `most` of them, evenly spaced on the logarithmic axis.
function sizeTicks(lo: number, hi: number, most: number): number[] {
  const first = Math.ceil(Math.log2(lo))
  const last = Math.floor(Math.log2(hi))
  const step = Math.max(1, Math.ceil((last - first + 1) / most))
  return Array.from({ length: Math.max(0, Math.floor((last - first) / step) + 1) }, (_, i) => 2 ** (first + i * step))
}

/** Pixels that each point is moved by, so that those of nearly the same size stand side by side. */
function sideBySide(at: readonly number[]): number[] {
  const GAP = 13
  const shift = at.map(() => 0)
  const order = at.map((_, i) => i).sort((a, b) => at[a]! - at[b]!)
  for (let from = 0; from < order.length;) {
    let to = from + 1
    while (to < order.length && at[order[to]!]! - at[order[to - 1]!]! < GAP) to++
    const group = order.slice(from, to)
    const middle = group.reduce((sum, i) => sum + at[i]!, 0) / group.length
    if (group.length > 1) group.forEach((i, k) => (shift[i] = middle + (k - (group.length - 1) / 2) * GAP - at[i]!))
    from = to
  }
  return shift
}

/** File size (logarithmic) against the metric, with 95 % intervals. */
export async function sizeAccuracyPlot(variants: readonly Variant[]): Promise<Figure> {
  const points = variants.map((v) => ({
    ...v,
    size: Math.max(1, v.bytes),
    percent: v.value * 100,
    lo: v.interval[0] * 100,
    hi: v.interval[1] * 100,
  }))
  const lo = Math.min(...points.map((p) => p.lo))
  const hi = Math.max(...points.map((p) => p.hi))
  const pad = Math.max(0.2, (hi - lo) * 0.06)
  const sizes = points.map((p) => p.size)
  const domain = [Math.min(...sizes) / 1.5, Math.max(...sizes) * 1.5] as const
  const metric = variants[0]?.metric ?? 'accuracy'
  const colors = points.map((_, i) => colorOf(i))
  return figure(
    `file size against ${metric}`,
    points.map((p) => p.name),
    colors,
    (plot, width) => {
      const [marginLeft, marginRight] = [48, 20]
      const inner = width - marginLeft - marginRight
      const pixels = sizes.map((s) => (Math.log(s / domain[0]) / Math.log(domain[1] / domain[0])) * inner)
      const shift = sideBySide(pixels)
      return {
        height: width === WIDE ? 340 : 260,
        marginLeft,
        marginRight,
        marginBottom: 42,
        marginTop: 28,
        x: {
          type: 'log',
          base: 2,
          domain,
          label: 'file size',
          tickFormat: formatBytes,
          ticks: sizeTicks(...domain, width === WIDE ? 8 : 4),
          grid: true,
        },
        y: { domain: [Math.max(0, lo - pad), Math.min(100, hi + pad)], label: `${metric} (%)`, grid: true },
        marks: points.flatMap((p, i) => [
          plot.ruleX([p], { x: 'size', y1: 'lo', y2: 'hi', dx: shift[i]!, stroke: colors[i]!, strokeWidth: 1.5, strokeOpacity: 0.6 }),
          plot.dot([p], {
            x: 'size',
            y: 'percent',
            dx: shift[i]!,
            fill: colors[i]!,
            r: 5.5,
            title: () => `${p.name}: ${formatBytes(p.bytes)}, ${formatPercent(p.value, 2)}`,
          }),
        ]),
      }
    },
  )
}

/** Bytes of each weight before and after. */
export async function layerPlot(rows: readonly LayerRow[]): Promise<Figure> {
  const shown = rows.filter((r) => r.before.bytes >= 256)
  const [unit, bytesPerUnit] = Math.max(0, ...shown.map((r) => r.before.bytes)) >= 2 ** 22 ? ['MiB', 2 ** 20] : ['KiB', 2 ** 10]
  const data = shown.flatMap((r) => [
    { path: r.path, what: 'before', size: r.before.bytes / bytesPerUnit },
    { path: r.path, what: 'after', size: r.after.bytes / bytesPerUnit },
  ])
  const longest = Math.max(8, ...shown.map((r) => r.path.length))
  const paths = shown.map((r) => r.path)
  const colors = ['#9aa7b5', '#3b6fb6']
  return figure('bytes of each weight before and after', ['before', 'after'], colors, (plot, width) => {
    // Beside the bars where there is room, else above them.
    const above = width === NARROW
    const label = plot.text(paths, {
      fy: (d: string) => d,
      x: () => 0,
      y: () => 'label',
      text: (d: string) => d,
      textAnchor: 'start',
      dx: 3,
    })
    return {
      height: 70 + shown.length * (above ? 46 : 34),
      marginLeft: above ? 12 : Math.min(280, longest * 6.8 + 14),
      marginRight: 22,
      marginTop: 6,
      marginBottom: 40,
      x: { label: `${unit} in the file`, grid: true, ticks: above ? 4 : 8 },
      y: { axis: null, domain: above ? ['label', 'before', 'after'] : ['before', 'after'] },
      fy: { label: null, domain: paths, ...(above ? { axis: null } : {}) },
      color: { domain: ['before', 'after'], range: colors },
      marks: [plot.barX(data, { x: 'size', y: 'what', fy: 'path', fill: 'what' }), plot.ruleX([0]), ...(above ? [label] : [])],
    }
  })
}

/** Lines over epochs or rounds. */
export async function curvePlot(c: CurvePlot): Promise<Figure> {
  const data = c.curves.flatMap((curve) => curve.points.map((p) => ({ name: curve.name, ...p })))
  const names = c.curves.map((curve) => curve.name)
  const colors = names.map((_, i) => colorOf(i))
  const xs = [...new Set(data.map((d) => d.x))].sort((a, b) => a - b)
  const [lo, hi] = [Math.min(...data.map((d) => d.y)), Math.max(...data.map((d) => d.y))]
  return figure(c.title, names, colors, (plot, width) => ({
    height: width === WIDE ? 300 : 240,
    marginLeft: 48,
    marginRight: 20,
    marginBottom: 42,
    marginTop: 28,
    x: { label: c.xLabel, grid: true, ...(xs.every(Number.isInteger) && xs.length <= 20 ? { ticks: xs, tickFormat: 'd' } : {}) },
    y: { label: c.yLabel, grid: true, nice: true, ...(lo === hi ? { domain: [lo - 1, hi + 1] } : {}) },
    color: { domain: names, range: colors },
    marks: [
      plot.lineY(data, { x: 'x', y: 'y', stroke: 'name', strokeWidth: 2 }),
      plot.dot(data, { x: 'x', y: 'y', fill: 'name', r: 2.5, title: (d: (typeof data)[number]) => `${d.name}: ${d.y}` }),
    ],
  }))
}

/** Spectral density over eigenvalues, logarithmic upwards: single large eigenvalues are as visible as the bulk at zero. */
export async function densityPlot(d: { readonly grid: Float64Array; readonly density: Float64Array }): Promise<Figure> {
  const color = colorOf(0)
  const top = d.density.reduce((a, b) => Math.max(a, b))
  const floor = top * 1e-7
  // At most as many points as a line can show, each the largest of its run: a narrow peak must not fall between two.
  const run = Math.ceil(d.grid.length / 1400)
  const points: { x: number; y: number }[] = []
  for (let i = 0; i < d.grid.length; i += run)
    points.push({ x: d.grid[i + (run >> 1)] ?? d.grid[i]!, y: Math.max(floor, ...d.density.subarray(i, i + run)) })
  return figure('density of the eigenvalues', ['density'], [color], (plot, width) => ({
    height: width === WIDE ? 300 : 240,
    marginLeft: 56,
    marginRight: 20,
    marginBottom: 42,
    marginTop: 28,
    x: { label: 'eigenvalue', grid: true },
    y: { type: 'log', label: 'density', grid: true, domain: [floor, top * 2], ticks: 6 },
    marks: [
      plot.areaY(points, { x: 'x', y1: floor, y2: 'y', fill: color, fillOpacity: 0.15 }),
      plot.lineY(points, { x: 'x', y: 'y', stroke: color, strokeWidth: 1.5 }),
      plot.ruleX([0], { strokeOpacity: 0.4 }),
    ],
  }))
}
