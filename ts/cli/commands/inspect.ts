/** `tersor inspect`: what is in a model file. */
import type { Command } from 'commander'
import { inspect } from '../../analyze/index.js'
import { channelStructure, graphPasses, optimizeModel } from '../../graph/index.js'
import { loadModel } from '../../models/file.js'
import type { Model } from '../../nn/index.js'
import { formatBytes, formatCount, formatPercent } from '../../report/format.js'
import { runCommand, type Ui } from '../ui.js'

/** Nodes of the model's graphs before and after each pass. */
function showPasses(ui: Ui, model: Model): void {
  const { model: optimized, passes, dispose } = optimizeModel(model)
  const found = inspect(optimized)
  dispose()
  const [first, last] = [passes[0]?.before ?? 0, passes.at(-1)?.after ?? 0]
  ui.say(passes.length ? `${found.name}: ${first} nodes, ${last} after passes` : `${found.name}: holds no imported graph`)
  if (passes.length)
    ui.table({
      head: ['pass', 'nodes removed', 'left', 'what it does'],
      numeric: [false, true, true, false],
      rows: passes.map((p) => [
        p.name,
        formatCount(p.before - p.after),
        formatCount(p.after),
        graphPasses.find((row) => row.name === p.name)!.summary,
      ]),
    })
  ui.result({ name: found.name, nodes: first, optimized: last, passes, bytes: found.total.bytes })
}

/** Which channels go together, what reads them, and what has to stay and why. */
function showGroups(ui: Ui, model: Model): void {
  const { groups, left } = channelStructure(model)
  const free = groups.filter((g) => g.fixed === undefined)
  ui.say(`${model.info.name}: ${free.length} groups of channels can be made smaller, ${groups.length - free.length} have to stay`)
  ui.table({
    head: ['group', 'units', 'coupled slices (axis)', 'stays because'],
    numeric: [false, true, false, false],
    rows: groups.map((g) => [
      g.name,
      `${g.units.length} ${g.unit}s`,
      g.slices.map((s) => `${s.path} (${s.axis})`).join(', '),
      g.fixed ?? '',
    ]),
  })
  for (const { path, reason } of left) ui.say(`left alone: ${path || 'the model'}: ${reason}`)
  ui.result({
    name: model.info.name,
    groups: groups.map(({ name, unit, units, slices, fixed }) => ({
      name,
      unit,
      units: units.length,
      slices: slices.map(({ path, axis, role }) => ({ path, axis, role })),
      ...(fixed === undefined ? {} : { fixed }),
    })),
    left,
  })
}

export function registerInspect(program: Command): void {
  program
    .command('inspect')
    .description('list the weights of a model: path, kind, shape, parameters, sparsity, bytes')
    .argument('<model>', 'model file (safetensors, ONNX, tfjs model.json), or a folder: Hugging Face or tfjs')
    .option('--optimized', 'an imported graph as sessions run it: nodes before and after each graph pass')
    .option('--groups', 'channels that belong together: what structured pruning can take away')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ tersor inspect encoder.safetensors\n  $ tersor inspect small.safetensors --json\n  $ tersor inspect model.onnx --optimized',
    )
    .action((file: string, o: { json?: boolean; optimized?: boolean; groups?: boolean }) =>
      runCommand(o.json ?? false, async (ui) => {
        const model = loadModel(file)
        if (o.optimized) {
          showPasses(ui, model)
          return
        }
        if (o.groups) {
          showGroups(ui, model)
          return
        }
        const found = inspect(model)
        ui.say(`${found.name}: ${found.task}`)
        ui.table({
          head: ['weight', 'kind', 'shape', 'parameters', 'sparsity', 'bytes', 'NaN/Inf'],
          numeric: [false, false, false, true, true, true, true],
          rows: [
            ...found.weights.map((w) => [
              w.path,
              w.description,
              w.shape.join(' x '),
              formatCount(w.parameters),
              formatPercent(w.sparsity),
              formatBytes(w.bytes),
              String(w.nonFinite),
            ]),
            [
              'total',
              '',
              '',
              formatCount(found.total.parameters),
              formatPercent(found.total.sparsity),
              formatBytes(found.total.bytes),
              String(found.total.nonFinite),
            ],
          ],
        })
        ui.result(found)
        await Promise.resolve()
      }),
    )
}
