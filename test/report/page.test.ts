/** The page: well-formed, self-contained, harmless whatever names stand in it. */
import { parseHTML } from 'linkedom'
import { describe, expect, it } from 'vitest'
import { reportHtml, type Report } from '../../ts/report/index.js'
import { report, variant } from './samples.js'

const VOID = new Set(['meta', 'wbr', 'br', 'hr', 'img', 'input', 'link'])

// Attribute values may hold < and >, as HTML allows.
const TAG = /<(\/?)([a-zA-Z][\w-]*)((?:\s+[\w:-]+(?:="[^"]*")?)*)\s*(\/?)>/g

/** Every opened element is closed in order: parsers forgive, this does not. */
function expectWellFormed(html: string): void {
  expect(html).toMatch(/^<!doctype html>\n<html lang="en"><head><meta charset="utf-8">/)
  const open: string[] = []
  for (const [, slash, name, , own] of html.matchAll(TAG)) {
    if (slash) expect(open.pop(), `closed by ${name}`).toBe(name)
    else if (!own && !VOID.has(name!)) open.push(name!)
  }
  expect(open).toEqual([])
  // Between the tags no < is left.
  expect(html.replace(TAG, '').match(/</g)).toEqual(['<'])
}

function expectSelfContained(html: string): void {
  expect(
    html.replaceAll('xmlns="http://www.w3.org/2000/svg"', '').replaceAll('xmlns:xlink="http://www.w3.org/1999/xlink"', ''),
  ).not.toMatch(/https?:|\/\/[a-z]/i)
  expect(html).not.toMatch(/<(script|link|iframe|object|embed|img|base)\b|\s(src|srcset|href|action|on\w+)=|@import|url\(/i)
}

function dom(html: string): { document: Document } {
  const window: unknown = parseHTML(html)
  return window as { document: Document }
}
interface Element {
  readonly textContent: string
  querySelectorAll(selector: string): Iterable<Element> & { readonly length: number }
  getAttribute(name: string): string | null
}
type Document = Element & { readonly title: string; querySelector(selector: string): Element | null }

describe.each([1, 2, 6])('with %d variants', (count) => {
  it('is well-formed, self-contained, and shows every plot in two widths', async () => {
    const html = await reportHtml(report(Array.from({ length: count }, (_, i) => variant(i))))
    expectWellFormed(html)
    expectSelfContained(html)
    const { document } = dom(html)
    expect(document.title).toBe('A comparison')
    for (const width of ['wide', 'narrow']) {
      const plots = [...document.querySelectorAll(`figure .${width} svg`)]
      expect(plots.map((p) => p.getAttribute('aria-label'))).toEqual([
        'file size against accuracy',
        'Accuracy after each round',
        'bytes of each weight before and after',
      ])
      expect(plots[0]!.querySelectorAll('circle').length).toBe(count)
      for (const plot of plots) expect(plot.getAttribute('role')).toBe('img')
    }
    const [sizes, rounds, weights] = [...document.querySelectorAll('.legend')].map((l) =>
      [...l.querySelectorAll('span')].map((s) => s.textContent),
    )
    expect(sizes).toEqual(Array.from({ length: count }, (_, i) => `model ${i}`))
    expect(rounds).toEqual(['rewinding', 'fine-tuning'])
    expect(weights).toEqual(['before', 'after'])
    expect(document.querySelectorAll('tbody tr').length).toBe(count + 2)
    // A comparison has headline figures; a single model has nothing to compare with.
    expect(document.querySelectorAll('.card').length).toBe(count > 1 ? 3 : 0)
    expect(document.querySelector('pre')!.textContent).toContain('"pass": "quantize/static-int8"')
    expect(document.querySelector('header')!.textContent).toContain('2026-01-31 12:34 UTC')
  })
})

it('no number of a plot is missing or not a number, also where all points are one', async () => {
  const same = Array.from({ length: 4 }, (_, i) => variant(0, { name: `m${i}`, value: 1, interval: [1, 1], bytes: i === 3 ? 0 : 1000 }))
  const flat = report(same, {})
  const section = flat.sections[0]!
  const single = { title: 'One', xLabel: 'epoch', yLabel: '%', curves: [{ name: 'a', points: [{ x: 1, y: 11.35 }] }] }
  const html = await reportHtml({ ...flat, sections: [{ ...section, curves: [single] }] })
  expectWellFormed(html)
  expect(html).not.toMatch(/NaN|Infinity|undefined/)
  const ticks = [...dom(html).document.querySelectorAll('[aria-label="x-axis tick label"] text, [aria-label="y-axis tick label"] text')]
  expect(ticks.length).toBeGreaterThan(10)
  expect(ticks.filter((t) => t.textContent.trim() === '')).toEqual([])
})

it('models of nearly the same size stand side by side', async () => {
  const html = await reportHtml(report([variant(0), variant(1, { bytes: 7_170_377 }), variant(2, { bytes: 7_103_804 })]))
  const plot = [...dom(html).document.querySelectorAll('figure .wide svg')][0]!
  const at = [...plot.querySelectorAll('[aria-label="dot"]')].map((g) => {
    const shift = Number(/translate\(([-\d.]+)/.exec(g.getAttribute('transform') ?? '')?.[1] ?? 0)
    return shift + Number([...g.querySelectorAll('circle')][0]!.getAttribute('cx'))
  })
  expect(at).toHaveLength(3)
  expect(at[1]! - at[2]!).toBeCloseTo(13, 6)
  expect(at[0]!).toBeGreaterThan(at[1]! + 50)
})

it('sections without figures, curves or layers are fine', async () => {
  const html = await reportHtml(
    report([], { sections: [{ title: 'Empty', text: [], variants: [], layers: { title: 'Weights', rows: [] } }] }),
  )
  expectWellFormed(html)
  const { document } = dom(html)
  expect(document.querySelectorAll('svg').length).toBe(0)
  expect(document.querySelector('section')!.textContent).toContain('No weight changed.')
})

describe('hostile names', () => {
  const nasty = `</td></svg></style><script>alert('1')</script><img src=x onerror="alert(2)">&lt;"'`
  const hostile = (): Report => {
    const r = report([variant(0, { name: nasty, metric: nasty, note: nasty }), variant(1)], { title: nasty, created: nasty })
    const section = r.sections[0]!
    return {
      ...r,
      machine: { ...r.machine, cpu: nasty, os: nasty },
      sections: [
        {
          ...section,
          title: nasty,
          text: [nasty],
          layers: {
            title: nasty,
            rows: section
              .layers!.rows.map((row) => ({ ...row, path: nasty, before: { ...row.before, kind: nasty, bytes: 1e6 } }))
              .slice(0, 1),
          },
          curves: [{ title: nasty, xLabel: nasty, yLabel: nasty, curves: [{ name: nasty, points: [{ x: 0, y: 1 }] }] }],
          recipes: { [nasty]: { recipe: nasty } },
        },
      ],
    }
  }

  it('stay text', async () => {
    const html = await reportHtml(hostile())
    expectWellFormed(html)
    const { document } = dom(html)
    expect(document.querySelectorAll('script, img, [onerror]').length).toBe(0)
    expect(document.querySelector('h1')!.textContent).toBe(nasty)
    expect(document.querySelector('header p')!.textContent).toBe(nasty)
    expect([...document.querySelectorAll('tbody td')][0]!.textContent).toBe(nasty)
    expect([...document.querySelectorAll('.legend span')][0]!.textContent).toBe(nasty)
    expect(document.querySelector('summary')!.textContent).toBe(`Recipe: ${nasty}`)
    expect(document.querySelector('dd')!.textContent).toBe(`${nasty}, 2 cores`)
  })
})
