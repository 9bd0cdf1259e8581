/** `tersor compress`: applies a recipe to a model, saves the result, and reports what it gained and lost. */
import { existsSync, rmdirSync } from 'node:fs'
import type { Command } from 'commander'
import { deviceOption, fallbackOption, runOnDevice, type DeviceCliOptions } from '../device-option.js'
import { OptionError } from '../../base/errors.js'
import { suggestion } from '../../base/nearest.js'
import type { Json } from '../../base/json-types.js'
import {
  compress,
  parseRecipe,
  passDefinition,
  presets,
  removeCheckpoints,
  type CompressEvent,
  type CompressOptions,
  type CompressReport,
  planCompression,
  type Recipe,
} from '../../compress/index.js'
import type { Sensitivities } from '../../analyze/sensitivity/index.js'
import { readRegularFile, writeFileAtomic } from '../../formats/index.js'
import { loadModel, modelFileBytes } from '../../models/file.js'
import type { Model } from '../../nn/index.js'
import { checkTransformersJs } from '../../runtime/transformers-js.js'
import { formatBytes, formatDuration, formatRatio } from '../../report/format.js'
import {
  layerTable,
  machineFacts,
  reportHtml,
  type CurvePlot,
  type LayerRow,
  type Report,
  type SensitivityRow,
  type Variant,
} from '../../report/index.js'
import { agreementOf, comparison, compressData, type Measured } from '../compress-data.js'
import { eventView, planText } from '../events.js'
import { io } from '../io.js'
import { outFile, outPath, real, refuseFolder } from '../options.js'
import { sensitivityRowsOf } from '../sensitivity-files.js'
import { snapshotsBeside } from '../train-files.js'
import { RESUME, type Ui } from '../ui.js'
import { assetsOf, assetsOption, checkLayout, layoutOption, writeModel, type Layout } from '../write-model.js'

interface CompressCliOptions extends DeviceCliOptions {
  readonly recipe: string
  readonly data?: string
  readonly validation?: string
  readonly out?: string
  readonly layout?: Layout
  readonly assets?: string
  readonly report?: string
  readonly snapshots?: string
  readonly teacher?: readonly string[]
  readonly maxDrop?: number
  readonly printRecipe?: boolean
  readonly plan?: boolean
  readonly resume?: boolean
  readonly ipc?: boolean
  readonly json?: boolean
}

/** A preset by name, or a recipe file. */
export function readRecipe(nameOrFile: string): Recipe {
  if (Object.hasOwn(presets, nameOrFile)) return presets[nameOrFile]!.recipe
  if (!existsSync(nameOrFile))
    throw new OptionError(
      'ERR_OPTION',
      `compress: no preset and no file is named ${JSON.stringify(nameOrFile)}${suggestion(nameOrFile, Object.keys(presets))}; presets: ${Object.keys(presets).join(', ')}`,
    )
  return parseRecipe(readRegularFile(nameOrFile, { maxBytes: 2 ** 24 }))
}

/** Loads the teachers; a recipe that has no use for them is ERR_OPTION. */
function teachersFor({ stages }: Recipe, files: readonly string[] | undefined): Model[] | undefined {
  if (!files) return undefined
  const learns = stages.flat().some(({ pass, options }) => {
    const { distill, teachers } = passDefinition(pass).needs?.(options) ?? {}
    return distill !== undefined || teachers === true
  })
  if (!learns)
    throw new OptionError('ERR_OPTION', 'compress: --teacher is for recipes with "distill" in the options of a pass, this one has none')
  return files.map((file) => loadModel(file))
}

/** The recipe with another error budget in its passes quantize/auto; ERR_OPTION where it has none. */
export function withMaxDrop(recipe: Recipe, maxDrop: number): Recipe {
  if (!recipe.stages.flat().some(({ pass }) => pass === 'quantize/auto'))
    throw new OptionError(
      'ERR_OPTION',
      'compress: --max-drop is for recipes with the pass quantize/auto (preset int8-auto); this one has none',
    )
  const stages = recipe.stages.map((stage) =>
    stage.map((spec) => (spec.pass === 'quantize/auto' ? { ...spec, options: { ...spec.options, maxDrop } } : spec)),
  )
  return parseRecipe({ ...recipe, stages })
}

export function layerRows(report: CompressReport): LayerRow[] {
  return report.layers
    .filter((l) => l.before.description !== l.after.description || l.error !== 0 || l.shapeBefore)
    .map((l) => ({
      path: l.path,
      shape: l.shape,
      before: { kind: l.before.description, bytes: l.before.bytes },
      after: { kind: l.after.description, bytes: l.after.bytes, density: l.after.density },
      error: l.error,
      ...(l.shapeBefore ? { shapeBefore: l.shapeBefore } : {}),
    }))
}

/** Of a pass that gave layers their bits by their sensitivity. */
function sensitivityRows(report: CompressReport): SensitivityRow[] {
  for (const { figures } of report.passes) {
    if (!figures.sensitivities || !figures.assignment) continue
    const { groups } = figures.sensitivities as unknown as Pick<Sensitivities, 'groups'>
    const { bits } = figures.assignment as unknown as { bits: Readonly<Record<string, number>> }
    return sensitivityRowsOf({ groups }, bits)
  }
  return []
}

/** Of passes that gave layers a little twin: what the twins answered, step by step. */
function twinCurves({ passes }: CompressReport): CurvePlot[] {
  return passes.flatMap(({ figures }) => {
    const all = Object.entries((figures.ratios ?? {}) as Readonly<Record<string, readonly number[]>>)
    const curves = all.flatMap(([name, ratios]) => (ratios.length > 1 ? [{ name, points: ratios.map((y, i) => ({ x: i + 1, y })) }] : []))
    return curves.length > 0 ? [{ title: 'Answered by twins', xLabel: 'step', yLabel: 'share of the outputs', curves }] : []
  })
}

/** A measured model in the report: tables and plots are of proportions. */
function variantOf(
  found: Measured,
  bytes: number,
  reference: { readonly bytes: number; readonly measured?: Measured },
): Variant | undefined {
  const same = reference.measured && agreementOf(reference.measured, found)
  return found.variant && { ...found.variant, bytes, ratio: reference.bytes / bytes, ...(same === undefined ? {} : { agreement: same }) }
}

/** The result is safe: the checkpoints may go, and the folder when nothing else is in it. */
function dropCheckpoints(dir: string): void {
  removeCheckpoints(dir)
  try {
    rmdirSync(dir)
  } catch {
    // what is left there is not ours
  }
}

export function agreement(a: Int32Array, b: Int32Array): number {
  return agreementOf({ predictions: a }, { predictions: b })!
}

/** The plan of each pass, a line each. */
function showPlan(model: Model, recipe: Recipe, options: CompressOptions, ui: Ui): void {
  const plans = planCompression(model, recipe, options)
  for (const { at, plan } of plans) ui.say(planText(at, plan ?? {}))
  ui.result({ plans: plans.map(({ at, plan }) => ({ stage: at.stage, pass: at.pass, name: at.name, plan: plan ?? null })) })
}

const OUT = '--out <file>'

export function registerCompress(program: Command): void {
  program
    .command('compress')
    .description('compress a model by a recipe')
    .argument('<model>', 'model file (safetensors, ONNX), or a tfjs folder of a known architecture')
    .requiredOption('--recipe <name>', `recipe file (JSON) or preset: ${Object.keys(presets).join(', ')}`)
    .option(
      '--data <spec>',
      'data to calibrate and retrain on: idx:DIR, npz:FILE, csv:FILE, tsv:FILE; for language models text:PATH, brown or moby-dick; to calibrate any model without labels inputs:PATH (.npz or .npy with its inputs, or a folder of them)',
    )
    .option(
      '--validation <spec>',
      'held-out data: stop rules, and accuracy (language models: perplexity; inputs:PATH: distance of the outputs) before and after',
    )
    .option(OUT, 'file to write: safetensors, or ONNX (.onnx); with --layout a folder', outPath)
    .addOption(layoutOption())
    .addOption(assetsOption())
    .option('--report <file>', 'write a self-contained HTML report', outFile)
    .option('--snapshots <model>', 'model file whose training snapshots rewinding goes back to (default: the input)')
    .option('--teacher <model...>', 'models that passes with "distill" learn from (default: the input itself)')
    .option('--max-drop <points>', 'points of accuracy that int8-auto (quantize/auto) may lose', real(0, 100))
    .option('--print-recipe', 'show the recipe as JSON and stop')
    .option('--plan', 'say what the recipe is going to do (rounds, epochs) and stop')
    .option('--resume', 'go on from the checkpoint of an interrupted run')
    .option('--ipc', 'send events to the parent process')
    .addOption(deviceOption())
    .addOption(fallbackOption())
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `\nPresets:\n${Object.entries(presets)
        .map(([name, p]) => `  ${name.padEnd(26)} ${p.summary}`)
        .join('\n')}\n\nExamples:\n` +
        '  $ tersor compress encoder.safetensors --recipe int8-static --data tsv:train.tsv --out encoder.int8.safetensors --report report.html\n' +
        '  $ tersor compress encoder.safetensors --recipe int8-auto --max-drop 0.5 --data tsv:train.tsv --validation tsv:held.tsv --out small.safetensors\n' +
        '  $ tersor compress lenet5.safetensors --recipe prune-lr-rewind-int8 --data idx:mnist --validation idx:mnist,split=test --out small.safetensors\n' +
        '  $ tersor compress encoder.safetensors --recipe int8-static --data tsv:train.tsv --out encoder.int8.onnx\n' +
        '  $ tersor compress bert/ --recipe int8-weights --out web/bert --layout transformers.js\n' +
        '  $ tersor compress whale.safetensors --recipe prune-lr-rewind-int8 --data moby-dick --out whale.small.safetensors\n' +
        '  $ tersor compress detector.onnx --recipe int8-static --data inputs:frames.npz --validation inputs:held/ --out detector.int8.onnx\n' +
        '  $ tersor compress net.safetensors --recipe int4-group --print-recipe > my-recipe.json',
    )
    .action((modelFile: string, o: CompressCliOptions, command: Command) => {
      if (o.out !== undefined && !o.layout) refuseFolder(command, OUT, o.out)
      return runOnDevice(
        o,
        async (ui) => {
          const named = readRecipe(o.recipe)
          const recipe = o.maxDrop === undefined ? named : withMaxDrop(named, o.maxDrop)
          if (o.printRecipe) {
            io().stdout.write(`${JSON.stringify(recipe, null, 2)}\n`)
            return
          }
          if (o.out === undefined && !o.plan) throw new OptionError('ERR_OPTION', 'compress: --out FILE is needed')
          if (o.assets !== undefined && !o.layout) throw new OptionError('ERR_OPTION', 'compress: --assets is for --layout transformers.js')
          if (o.layout && o.out !== undefined) checkLayout('compress', o.out)
          const model = loadModel(modelFile)
          const laidOut = o.layout && assetsOf(modelFile, o.assets)
          // What cannot be laid out so is found before the work and not after it.
          if (laidOut) checkTransformersJs(model, laidOut)
          const data = await compressData(model, o, ui)
          const snapshots = snapshotsBeside(o.snapshots ?? modelFile)
          if (o.snapshots !== undefined && !snapshots)
            throw new OptionError('ERR_OPTION', `compress: there are no snapshots beside '${o.snapshots}'; train with --snapshots EPOCHS`)
          const teacher = teachersFor(recipe, o.teacher)
          const given = {
            ...data.options,
            ...(snapshots ? { snapshots } : {}),
            ...(teacher ? { teacher } : {}),
          }
          if (o.out === undefined || o.plan) return showPlan(model, recipe, given, ui)
          const out = o.out.replace(/(?<=[^\\/])[\\/]+$/, '')
          const bytesBefore = modelFileBytes(model)
          // First, so that data that does not fit the model is found before the work and not after it.
          const before = await data.measure?.('before', model)
          const view = eventView(ui)
          const onEvent = (e: CompressEvent): void => {
            view.onEvent(e)
            if (o.ipc) process.send?.(e)
          }
          const checkpointDir = `${out}.checkpoint`
          if (o.resume && !existsSync(checkpointDir)) ui.say('nothing to resume: starting from the beginning')
          const result = await compress(model, recipe, {
            ...given,
            onEvent,
            signal: ui.signal,
            checkpointDir,
            resume: o.resume ?? false,
          }).finally(view.end)
          const bytes = await writeModel(result.model, out, ui, laidOut)
          const after = await data.measure?.('after', result.model)
          const rows = layerRows(result.report)
          ui.table(layerTable(rows))
          for (const pass of result.report.passes)
            for (const note of pass.notes)
              // What was a warning too begins with the name already.
              ui.say(note.text.startsWith(`${pass.pass}: `) ? note.text : `${pass.pass}: ${note.path ? `${note.path}: ` : ''}${note.text}`)
          ui.say(
            `saved ${out}: ${formatBytes(bytesBefore)} -> ${formatBytes(bytes)} (${formatRatio(bytesBefore / bytes)}) in ${formatDuration(result.report.seconds)}`,
          )
          const compared = before && after && comparison(before, after)
          if (compared) ui.say(compared)
          const variants = [
            before && variantOf(before, bytesBefore, { bytes: bytesBefore }),
            after && variantOf(after, bytes, { bytes: bytesBefore, ...(before ? { measured: before } : {}) }),
          ].filter((v) => v !== undefined)
          if (o.report !== undefined) {
            const sensitive = sensitivityRows(result.report)
            const twins = twinCurves(result.report)
            const page: Report = {
              report: 1,
              title: `Compression of ${model.info.name}`,
              created: new Date().toISOString(),
              machine: machineFacts(),
              sections: [
                {
                  title: model.info.name,
                  text: [
                    `${modelFile} -> ${out}, recipe ${o.recipe}, seed ${result.report.seed}.`,
                    ...(compared && variants.length === 0 ? [`${compared}.`] : []),
                  ],
                  variants,
                  layers: { title: 'Weights', rows },
                  ...(twins.length > 0 ? { curves: twins } : {}),
                  ...(sensitive.length > 0 ? { sensitivity: { title: 'Sensitivity of layers', rows: sensitive } } : {}),
                  recipes: { [o.recipe]: recipe as unknown as Json },
                },
              ],
            }
            writeFileAtomic(o.report, [new TextEncoder().encode(await reportHtml(page))])
            ui.say(`report: ${o.report}`)
          }
          dropCheckpoints(checkpointDir)
          const figure = (m: Measured): Json => ({ metric: m.metric, value: m.value, n: m.n })
          const figures = before && after ? { before: figure(before), after: figure(after) } : {}
          ui.result({ file: out, bytesBefore, bytes, ...figures, variants, report: result.report })
        },
        RESUME,
      )
    })
}
