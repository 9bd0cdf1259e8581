/** `tersor analyze hessian`: eigenvalues, trace, density and diagonal of a model's Hessian over a data set. */
import { InvalidArgumentError, type Command } from 'commander'
import { hessian } from '../../analyze/index.js'
import type { HessianProgress, ModelHessian } from '../../analyze/hessian/index.js'
import { shuffle } from '../../base/rng.js'
import { OptionError } from '../../base/errors.js'
import { loadData, subset, type Dataset } from '../../data/index.js'
import { writeFileAtomic } from '../../formats/atomic.js'
import { loadModel } from '../../models/file.js'
import type { Model } from '../../nn/index.js'
import { formatCount, formatNumber } from '../../report/format.js'
import { densityPlot } from '../../report/plots.js'
import { integer, outFile, real } from '../options.js'
import { asTrained } from '../as-trained.js'
import { runCommand, type Ui } from '../ui.js'

const whats = ['eigenvalues', 'trace', 'density', 'diagonal'] as const
type What = (typeof whats)[number]

interface HessianOptions {
  readonly data: string
  readonly what: readonly What[]
  readonly layers?: readonly string[]
  readonly perLayer?: boolean
  readonly top: number
  readonly method: string
  readonly iterations: number
  readonly tolerance: number
  readonly batch: number
  readonly examples?: number
  readonly seed: number
  readonly plot?: string
  readonly json?: boolean
}

function readWhat(text: string): What[] {
  const asked = text.split(',').map((w) => w.trim())
  const wrong = asked.find((w) => !(whats as readonly string[]).includes(w))
  if (wrong !== undefined) throw new InvalidArgumentError(`must be a list of ${whats.join(', ')}.`)
  return asked as What[]
}

/** What is reported of one operator: plain JSON. */
interface Findings {
  readonly of: string
  readonly parameters: number
  eigenvalues?: readonly { value: number; residual: number; converged: boolean }[]
  products?: number
  trace?: { value: number; standardError: number; samples: number; converged: boolean; parts: readonly object[] }
  density?: hessian.DensityResult
  diagonal?: { smallest: number; largest: number; samples: number; parts: readonly { name: string; mean: number }[] }
}

async function analyse(of: string, h: ModelHessian, o: HessianOptions, what: readonly What[], ui: Ui): Promise<Findings> {
  const found: Findings = { of, parameters: h.size }
  const { seed, tolerance, iterations } = o
  const run = async <T>(
    work: (shared: { seed: number; signal: AbortSignal; onProgress: (p: HessianProgress) => void }) => Promise<T>,
  ): Promise<T> => {
    let bar: ReturnType<Ui['progress']> | undefined
    const onProgress = ({ stage, done, total, estimate }: HessianProgress): void => {
      bar ??= ui.progress(stage, total)
      bar.update(done, estimate === undefined ? '' : formatNumber(estimate))
    }
    return work({ seed, signal: ui.signal, onProgress }).finally(() => bar?.end())
  }
  if (what.includes('eigenvalues')) {
    const method = o.method === 'power' ? hessian.powerIteration : hessian.lanczos
    const { pairs, products } = await run((shared) => method(h, { ...shared, top: o.top, tolerance, maxIterations: iterations }))
    found.products = products
    found.eigenvalues = pairs.map(({ value, residual, converged }) => ({ value, residual, converged }))
    for (const { vector } of pairs) vector.dispose()
  }
  if (what.includes('trace')) {
    const t = await run((shared) => hessian.trace(h, { ...shared, tolerance, maxSamples: iterations }))
    found.trace = { value: t.trace, standardError: t.standardError, samples: t.samples.length, converged: t.converged, parts: t.parts }
  }
  if (what.includes('density')) found.density = await run((shared) => hessian.density(h, { ...shared, iterations }))
  if (what.includes('diagonal')) {
    const { diagonal, samples } = await run((shared) => hessian.diagonal(h, { ...shared, tolerance, maxSamples: iterations }))
    const values = diagonal.read() as Float32Array
    diagonal.dispose()
    const parts = h.parts.map((p) => ({
      name: p.name,
      mean: values.subarray(p.offset, p.offset + p.size).reduce((s, v) => s + v / p.size, 0),
    }))
    found.diagonal = {
      smallest: values.reduce((a, b) => Math.min(a, b)),
      largest: values.reduce((a, b) => Math.max(a, b)),
      samples,
      parts,
    }
  }
  return found
}

function show(ui: Ui, all: readonly Findings[]): void {
  const rows: string[][] = []
  for (const f of all) {
    const add = (what: string, value: number, note: string): void =>
      void rows.push([f.of, formatCount(f.parameters), what, formatNumber(value), note])
    f.eigenvalues?.forEach((e, i) =>
      add(`eigenvalue ${i + 1}`, e.value, `residual ${formatNumber(e.residual)}${e.converged ? '' : ', not converged'}`),
    )
    if (f.trace) add('trace', f.trace.value, `+- ${formatNumber(f.trace.standardError)} from ${f.trace.samples} samples`)
    if (f.density) {
      const negative = f.density.nodes[0]!.values.reduce((s, v, i) => s + (v < 0 ? f.density!.nodes[0]!.weights[i]! : 0), 0)
      add('below zero', negative, 'share of the spectrum')
    }
    if (f.diagonal) add('largest of the diagonal', f.diagonal.largest, `${f.diagonal.samples} samples`)
  }
  ui.table({ head: ['of', 'parameters', 'what', 'value', ''], numeric: [false, true, false, true, false], rows })
}

function chosenData(data: Dataset, o: HessianOptions): Dataset {
  return o.examples === undefined || o.examples >= data.size ? data : subset(data, shuffle(data.size, o.seed).subarray(0, o.examples))
}

/** Patterns of the blocks to look at: all together, or each layer by itself. */
function blocks(model: Model, o: HessianOptions): { name: string; layers?: readonly string[] }[] {
  const whole = { name: o.layers ? o.layers.join(', ') : 'all', ...(o.layers ? { layers: o.layers } : {}) }
  if (!o.perLayer) return [whole]
  const paths = hessian.ofModelParts(model, o.layers)
  return [...new Set(paths.map((path) => path.replace(/\.[^.]*$/, '')))].map((name) => ({ name, layers: [name] }))
}

export function registerAnalyze(program: Command): void {
  const analyze = program.command('analyze').description('what a model is like: curvature of its loss')
  analyze
    .command('hessian')
    .description('eigenvalues, trace, density and diagonal of the Hessian of the loss over a data set')
    .argument('<model>', 'model file of a classifier')
    .requiredOption('--data <spec>', 'data: idx:DIR,split=test, npz:FILE, csv:FILE, tsv:FILE')
    .option('--what <list>', `any of ${whats.join(', ')}`, readWhat, ['eigenvalues', 'trace'] as What[])
    .option('--layers <patterns>', 'only the block of these parameters: conv*,fc1.weight', (text) => text.split(','))
    .option('--per-layer', 'every layer by itself')
    .option('--top <n>', 'eigenvalues', integer(1, 1000), 1)
    .option('--method <name>', 'for eigenvalues: lanczos, or power (PyHessian)', 'lanczos')
    .option('--iterations <n>', 'most products for each figure', integer(1, 100_000), 100)
    .option('--tolerance <x>', 'relative, of every stop rule', real(0, 1), 1e-3)
    .option('--batch <n>', 'examples per batch', integer(1, 1_000_000), 256)
    .option('--examples <n>', 'a random part of the data', integer(1))
    .option('--seed <n>', 'of the random vectors', integer(0), 0)
    .option('--plot <file>', 'write the density as SVG (implies --what density)', outFile)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ tersor analyze hessian lenet5.safetensors --data idx:mnist,split=test --examples 2000\n' +
        '  $ tersor analyze hessian lenet5.safetensors --data idx:mnist --what eigenvalues --top 5 --per-layer --json\n' +
        '  $ tersor analyze hessian mlp.safetensors --data csv:flowers.csv --what density --plot density.svg',
    )
    .action((file: string, o: HessianOptions) =>
      runCommand(o.json ?? false, async (ui) => {
        if (o.method !== 'lanczos' && o.method !== 'power')
          throw new OptionError('ERR_OPTION', `analyze hessian: --method takes lanczos, power, got ${JSON.stringify(o.method)}`)
        if (o.plot !== undefined && o.perLayer)
          throw new OptionError('ERR_OPTION', 'analyze hessian: --plot shows one density; leave --per-layer out')
        const model = loadModel(file)
        const data = chosenData(await loadData(o.data, { signal: ui.signal, ...asTrained(model) }), o)
        const what = o.plot === undefined || o.what.includes('density') ? o.what : [...o.what, 'density' as const]
        const all: Findings[] = []
        for (const { name, layers } of blocks(model, o)) {
          const h = hessian.ofModel(model, data, { batchSize: o.batch, ...(layers ? { layers } : {}) })
          try {
            all.push(await analyse(name, h, o, what, ui))
          } finally {
            h.dispose()
          }
        }
        show(ui, all)
        if (o.plot !== undefined) {
          const { wide } = await densityPlot(all[0]!.density!)
          writeFileAtomic(o.plot, new TextEncoder().encode(`${wide}\n`))
          ui.say(`wrote ${o.plot}`)
        }
        const plain = all.map((f) => (f.density ? { ...f, density: nodesOnly(f.density) } : f))
        ui.result({ model: model.info.name, data: data.name, examples: data.size, seed: o.seed, hessian: plain })
      }),
    )
}

/** The measure itself: the smoothed curve follows from it. */
function nodesOnly({ nodes, sigma }: hessian.DensityResult): object {
  return { sigma, nodes: nodes.map(({ values, weights }) => ({ values: [...values], weights: [...weights] })) }
}
