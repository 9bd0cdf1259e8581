/** A report as one self-contained page: no scripts, no requests, readable on a phone and on paper, light and dark. */
import { formatBytes, formatPercent, formatRatio } from './format.js'
import { curvePlot, layerPlot, sizeAccuracyPlot, type Figure } from './plots.js'
import { sensitivityPlot } from './sensitivity-plot.js'
import { layerTable, sensitivityTable, variantTable, type Table } from './tables.js'
import type { Report, ReportSection } from './types.js'

const STYLE = `
:root{color-scheme:light dark;--page:#fdfdfc;--ink:#1d232b;--soft:#5d6875;--line:#dfe3e8;--panel:#f4f5f7;--mark:#3b6fb6}
@media(prefers-color-scheme:dark){:root{--page:#15181c;--ink:#e8eaed;--soft:#a2acb8;--line:#323941;--panel:#1e2329;--mark:#7fa9dd}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:70rem;margin:0 auto;padding:2rem 1.1rem 4rem}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .3rem}
h2{font-size:1.25rem;margin:2.6rem 0 .6rem;padding-top:1.2rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.6rem 0 .5rem}
p{margin:.5rem 0;max-width:46rem}
.soft{color:var(--soft);font-size:.9rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(10.5rem,1fr));gap:.8rem;margin:1.2rem 0}
.card{background:var(--panel);border-radius:.6rem;padding:.8rem .9rem}
.card b{display:block;font-size:1.35rem;line-height:1.25}
.scroll{overflow-x:auto;margin:.6rem 0;border:1px solid var(--line);border-radius:.5rem}
table{border-collapse:collapse;width:100%;font-size:.84rem;font-variant-numeric:tabular-nums}
th,td{padding:.42rem .6rem;text-align:left;white-space:nowrap;border-bottom:1px solid var(--line)}
tr:last-child td{border-bottom:0}
th{color:var(--soft);font-weight:600;background:var(--panel)}
.n{text-align:right}
figure{margin:1.2rem 0}
figure svg{width:45rem;max-width:100%;height:auto;display:block}
figure .narrow{display:none}
figcaption{color:var(--soft);font-size:.88rem}
.legend{margin-bottom:.3rem}
.legend span{display:inline-flex;align-items:center;gap:.35rem;margin-right:1rem;font-size:.88rem}
.legend i{width:.8rem;height:.8rem;border-radius:50%;display:inline-block}
details{margin:.8rem 0}
summary{cursor:pointer;color:var(--mark)}
pre{background:var(--panel);padding:.8rem;border-radius:.5rem;overflow-x:auto;font-size:.8rem;line-height:1.45}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;font-size:.9rem}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
@media(max-width:38rem){main{padding-top:1.2rem}h1{font-size:1.4rem}dl{grid-template-columns:1fr}dt{margin-top:.4rem}
figure .wide{display:none}figure .narrow{display:block}
th:first-child,td:first-child{position:sticky;left:0;background:var(--page);border-right:1px solid var(--line);white-space:normal;min-width:8rem;overflow-wrap:anywhere}
th:first-child{background:var(--panel)}}
@media print{.scroll{overflow:visible}}
`

const escape = (s: string): string => s.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]!)

function table(t: Table): string {
  // Paths may be broken after their dots where the first column is narrow.
  const cell = (tag: string, text: string, i: number): string =>
    `<${tag}${t.numeric[i] ? ' class="n"' : ''}>${i === 0 ? escape(text).replaceAll('.', '.<wbr>') : escape(text)}</${tag}>`
  return (
    `<div class="scroll" tabindex="0"><table><thead><tr>${t.head.map((h, i) => cell('th', h, i)).join('')}</tr></thead>` +
    `<tbody>${t.rows.map((r) => `<tr>${r.map((c, i) => cell('td', c, i)).join('')}</tr>`).join('')}</tbody></table></div>`
  )
}

function cards(section: ReportSection): string {
  const reference = section.variants[0]
  const proposed = section.variants.slice(1).filter((v) => !v.comparison)
  // Headlines speak of models that hold the reference's accuracy (within its interval), where there are any.
  const holding = reference ? proposed.filter((v) => v.value >= reference.interval[0]) : []
  const rest = holding.length ? holding : proposed
  if (!reference || rest.length === 0) return ''
  const smallest = rest.reduce((a, b) => (b.ratio > a.ratio ? b : a))
  const fastest = rest.reduce((a, b) => (b.msPerExample.p50 < a.msPerExample.p50 ? b : a))
  const card = (value: string, text: string): string =>
    `<div class="card"><b>${escape(value)}</b><span class="soft">${escape(text)}</span></div>`
  return `<div class="cards">${[
    card(formatRatio(smallest.ratio), `smaller: ${smallest.name}, ${formatBytes(reference.bytes)} to ${formatBytes(smallest.bytes)}`),
    card(
      `${formatPercent(smallest.value, 2)}`,
      `${smallest.metric} of ${smallest.name}; ${reference.name} has ${formatPercent(reference.value, 2)}`,
    ),
    card(
      formatRatio(reference.msPerExample.p50 / fastest.msPerExample.p50),
      `the speed of ${reference.name}: ${fastest.name}, batch ${fastest.msPerExample.batch}`,
    ),
  ].join('')}</div>`
}

function figure({ wide, narrow, legend }: Figure, caption = ''): string {
  const keys = legend.map((l) => `<span><i style="background:${l.color}"></i>${escape(l.name)}</span>`).join('')
  const below = caption === '' ? '' : `<figcaption>${escape(caption)}</figcaption>`
  return `<figure><div class="legend">${keys}</div><div class="wide">${wide}</div><div class="narrow">${narrow}</div>${below}</figure>`
}

/** 2026-01-31T12:34:56.789Z -> "2026-01-31 12:34 UTC"; what is no such time stays as it is. */
function timeText(created: string): string {
  return created.replace(/^(\d{4}-\d\d-\d\d)T(\d\d:\d\d):[\d.]+Z$/, '$1 $2 UTC')
}

async function sectionHtml(section: ReportSection): Promise<string> {
  const parts = [`<section><h2>${escape(section.title)}</h2>`, ...section.text.map((p) => `<p>${escape(p)}</p>`), cards(section)]
  if (section.variants.length) {
    parts.push(table(variantTable(section.variants)))
    for (const v of section.variants) if (v.note) parts.push(`<p class="soft">${escape(v.name)}: ${escape(v.note)}</p>`)
  }
  if (section.variants.length > 0) {
    const caption = `Size against ${section.variants[0]!.metric}; bars are 95 % intervals. Models of nearly the same size stand side by side.`
    parts.push(figure(await sizeAccuracyPlot(section.variants), caption))
  }
  for (const c of section.curves ?? []) parts.push(`<h3>${escape(c.title)}</h3>`, figure(await curvePlot(c)))
  if (section.sensitivity) {
    const { title, rows } = section.sensitivity
    parts.push(`<h3>${escape(title)}</h3>`, figure(await sensitivityPlot(rows)), table(sensitivityTable(rows)))
  }
  if (section.layers) {
    const { title, rows } = section.layers
    parts.push(`<h3>${escape(title)}</h3>`)
    if (rows.length === 0) parts.push('<p>No weight changed.</p>')
    else parts.push(figure(await layerPlot(rows)), table(layerTable(rows)))
  }
  for (const [name, recipe] of Object.entries(section.recipes ?? {}))
    parts.push(`<details><summary>Recipe: ${escape(name)}</summary><pre>${escape(JSON.stringify(recipe, null, 2))}</pre></details>`)
  return parts.join('\n') + '</section>'
}

export async function reportHtml(report: Report): Promise<string> {
  const m = report.machine
  const facts: [string, string][] = [
    ['Processor', `${m.cpu}, ${m.cores} cores`],
    ['Kernels', `${m.isa}, ${m.threads} ${m.threads === 1 ? 'thread' : 'threads'}`],
    ['Memory', `${m.memoryGiB} GiB`],
    ['System', `${m.os}, Node ${m.node}`],
    ['Tersor', m.tersor],
  ]
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>${escape(report.title)}</title><style>${STYLE}</style></head>
<body><main><header><h1>${escape(report.title)}</h1><p class="soft">${escape(timeText(report.created))}</p></header>
${(await Promise.all(report.sections.map(sectionHtml))).join('\n')}
<section><h2>Machine</h2><dl>${facts.map(([k, v]) => `<dt>${escape(k)}</dt><dd>${escape(v)}</dd>`).join('')}</dl></section>
</main></body></html>
`
}
