/** Sensitivity of each layer as bars on a logarithmic axis, coloured by the bits that it got. */
import { formatNumber } from './format.js'
import { colorOf, figure, NARROW, type Figure } from './plots.js'
import type { SensitivityRow } from './types.js'

export async function sensitivityPlot(rows: readonly SensitivityRow[]): Promise<Figure> {
  const positive = rows.filter((r) => r.sensitivity > 0).map((r) => r.sensitivity)
  const top = Math.max(...positive, 1e-30)
  const floor = Math.min(...positive, top) / 3
  const bits = [...new Set(rows.map((r) => r.bits ?? 0))].sort((a, b) => a - b)
  const names = bits.map((b) => (b === 0 ? 'sensitivity' : b === 32 ? 'as it is' : `${b} bits`))
  const colors = bits.map((_, i) => colorOf(i))
  const data = rows.map((r) => ({
    name: r.name,
    from: floor,
    to: Math.max(r.sensitivity, floor),
    what: names[bits.indexOf(r.bits ?? 0)]!,
    text: `${r.name}: ${formatNumber(r.sensitivity)}${r.bits === undefined ? '' : `, ${r.bits} bits`}`,
  }))
  const longest = Math.max(8, ...rows.map((r) => r.name.length))
  return figure('sensitivity of each layer', names, colors, (plot, width) => {
    const above = width === NARROW
    const label = plot.text(data, { x: () => floor, y: 'name', text: 'name', textAnchor: 'start', dx: 3, fontSize: 10 })
    return {
      height: 64 + rows.length * 20,
      marginLeft: above ? 12 : Math.min(280, longest * 6.8 + 14),
      marginRight: 22,
      marginTop: 6,
      marginBottom: 40,
      x: { type: 'log', label: 'sensitivity', domain: [floor, top * 1.2], grid: true, ticks: above ? 4 : 8 },
      y: { label: null, domain: rows.map((r) => r.name), ...(above ? { axis: null } : {}) },
      color: { domain: names, range: colors },
      marks: [plot.barX(data, { x1: 'from', x2: 'to', y: 'name', fill: 'what', title: 'text' }), ...(above ? [label] : [])],
    }
  })
}
