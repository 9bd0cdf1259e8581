/** `tersor sensitivity`: how much each layer loses by fewer bits, and the bits to give them under a budget. */
import { InvalidArgumentError, type Command } from 'commander'
import { metrics, sensitivity, type LossData } from '../../analyze/index.js'
import type { Sensitivities } from '../../analyze/sensitivity/index.js'
import { OptionError } from '../../base/errors.js'
import { shuffle } from '../../base/rng.js'
import { compress, quantize, recipe, taskLosses, type Recipe } from '../../compress/index.js'
import { subset, type Dataset } from '../../data/index.js'
import { writeFileAtomic } from '../../formats/index.js'
import { loadModel, saveModel } from '../../models/file.js'
import type { Model } from '../../nn/index.js'
import { formatBytes, formatMs, formatNumber, formatPercent } from '../../report/format.js'
import { machineFacts, reportHtml, sensitivityPlot, sensitivityTable } from '../../report/index.js'
import { compressData, type CompressData } from '../compress-data.js'
import { eventView } from '../events.js'
import { integer, list, outFile, real } from '../options.js'
import { measure, readJson, sensitivityRowsOf, writeJson, type SensitivityCliOptions } from '../sensitivity-files.js'
import { RESUME, runCommand, type Ui } from '../ui.js'

const choices =
  (known: readonly string[]) =>
  (text: string): string => {
    if (!known.includes(text)) throw new InvalidArgumentError(`must be one of ${known.join(', ')}.`)
    return text
  }

function budgetText(text: string): string {
  try {
    sensitivity.parseBudget(text)
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message)
  }
  return text
}

/** Rank correlation of predicted with measured costs: over all layers and bits, and over layers at each number of bits. */
function correlation(a: Sensitivities, b: Sensitivities): { all: number; byBits: Record<string, number> } {
  const at = (s: Sensitivities, i: number): number[] => s.groups.map((g) => g.choices[i]!.cost)
  const bits = a.groups[0]!.choices.map((c) => c.bits)
  return {
    all: metrics.spearman(
      a.groups.flatMap((g) => g.choices.map((c) => c.cost)),
      b.groups.flatMap((g) => g.choices.map((c) => c.cost)),
    ),
    byBits: Object.fromEntries(bits.map((n, i) => [n, metrics.spearman(at(a, i), at(b, i))])),
  }
}

interface Assigned {
  readonly bits: Readonly<Record<string, number>>
  readonly bytes: number
  readonly fileBytes: number
  readonly cost: number
  readonly ms?: number
}

function recipeOf(s: Sensitivities, o: SensitivityCliOptions): Recipe {
  const { layout, groupSize, range, monotone = false, budget = '8x', bits, groups = [] } = o
  const options = {
    budget,
    bits: [...bits],
    groups: [...groups],
    monotone,
    layout,
    groupSize,
    range,
    sensitivities: sensitivity.knownFrom(s),
  }
  return recipe([[quantize.mixed(options)]], { name: 'mixed bits by sensitivity', seed: o.seed })
}

/** What is measured on: labelled examples, or windows of a text. */
async function measuredOn(
  model: Model,
  o: SensitivityCliOptions,
  ui: Ui,
): Promise<{ readonly given: CompressData['options']; readonly losses: Dataset | LossData }> {
  const { options } = await compressData(model, { data: o.data }, ui)
  const { examples: samples, seed } = o
  if (options.task) return { given: options, losses: await taskLosses(model, options.task, { samples, seed }) }
  const all = options.data!
  const data = all.size <= samples ? all : subset(all, shuffle(all.size, seed).subarray(0, samples))
  return { given: { data }, losses: data }
}

async function assign(model: Model, given: CompressData['options'], made: Recipe, o: SensitivityCliOptions, ui: Ui): Promise<Assigned> {
  const view = eventView({ ...ui, say: () => undefined })
  const { model: small, report } = await compress(model, made, { ...given, signal: ui.signal, onEvent: view.onEvent }).finally(view.end)
  if (o.out !== undefined) {
    saveModel(small, o.out)
    ui.say(`saved ${o.out}`)
  }
  return report.passes[0]!.figures.assignment as unknown as Assigned
}

async function run(file: string, o: SensitivityCliOptions, ui: Ui): Promise<void> {
  if (o.out !== undefined && o.budget === undefined) throw new OptionError('ERR_OPTION', 'sensitivity: --out needs a --budget')
  if (o.resume && o.save === undefined)
    throw new OptionError('ERR_OPTION', 'sensitivity: --resume needs --save: what was finished stands beside that file')
  const model = loadModel(file)
  if (!['classification', 'embedding', 'language'].includes(model.info.task))
    throw new OptionError(
      'ERR_OPTION',
      `sensitivity: needs a classifier, an encoder with a probe or a language model; ${model.info.name} is for ${model.info.task}`,
    )
  const { given, losses: data } = await measuredOn(model, o, ui)
  const found =
    o.from === undefined ? await measure(model, data, o, o.method, ui) : sensitivity.parseSensitivities(readJson(o.from, o.from), o.from)
  const direct = o.compare && found.method !== 'direct' ? await measure(model, data, o, 'direct', ui) : undefined
  const ranks = direct && correlation(found, direct)
  const made = recipeOf(found, o)
  const chosen = o.budget === undefined ? undefined : await assign(model, given, made, o, ui)
  const rows = sensitivityRowsOf(found, chosen?.bits)
  ui.table(sensitivityTable(rows, true))
  ui.say(
    `by ${found.method} on ${found.examples} examples: loss ${formatNumber(found.loss)}${found.accuracy === undefined ? '' : `, accuracy ${formatPercent(found.accuracy, 2)}`}` +
      (chosen ? '' : `; "loss rises by" at ${found.groups[0]!.choices[0]!.bits} bits, that layer alone`),
  )
  if (ranks)
    ui.say(
      `rank correlation with the measured rise of the loss: ${ranks.all.toFixed(2)}; at ${Object.entries(ranks.byBits)
        .map(([bits, r]) => `${bits} bits ${r.toFixed(2)}`)
        .join(', ')}`,
    )
  if (chosen)
    ui.say(
      `within ${o.budget}: a file of ${formatBytes(chosen.fileBytes)}${chosen.ms === undefined ? '' : `, ${formatMs(chosen.ms)} in these layers`}; the loss is expected to rise by ${formatNumber(chosen.cost)}`,
    )
  if (o.save !== undefined && o.from === undefined) ui.say(`saved ${o.save}`)
  if (o.recipe !== undefined) {
    writeJson(o.recipe, made)
    ui.say(`wrote ${o.recipe}: tersor compress ${file} --recipe ${o.recipe} --out FILE`)
  }
  if (o.plot !== undefined) {
    writeFileAtomic(o.plot, new TextEncoder().encode(`${(await sensitivityPlot(rows)).wide}\n`))
    ui.say(`wrote ${o.plot}`)
  }
  if (o.report !== undefined) {
    const text = [`${file}: ${found.method} on ${found.examples} examples of ${found.data}, seed ${found.seed}.`]
    const section = { title: model.info.name, text, variants: [], sensitivity: { title: 'Sensitivity of layers', rows } }
    const page = {
      report: 1 as const,
      title: `Sensitivity of ${model.info.name}`,
      created: new Date().toISOString(),
      machine: machineFacts(),
    }
    writeFileAtomic(o.report, [new TextEncoder().encode(await reportHtml({ ...page, sections: [section] }))])
    ui.say(`report: ${o.report}`)
  }
  ui.result({
    sensitivities: found,
    ...(direct ? { direct } : {}),
    ...(ranks ? { spearman: ranks } : {}),
    ...(chosen ? { assignment: chosen } : {}),
  })
}

export function registerSensitivity(program: Command): void {
  program
    .command('sensitivity')
    .description('how much each layer loses by fewer bits, and the bits to give them under a budget')
    .argument('<model>', 'model file of a classifier, of an encoder with a probe, or of a language model')
    .requiredOption(
      '--data <spec>',
      'data to measure on: idx:DIR, npz:FILE, csv:FILE, tsv:FILE; for language models text:PATH, brown or moby-dick',
    )
    .option(
      '--method <name>',
      'trace (HAWQ-v2), eigenvalue (Q-BERT) or direct (the loss itself)',
      choices(sensitivity.sensitivityMethods),
      'trace',
    )
    .option('--bits <list>', 'bit widths to choose from; 32: as it is', list(integer(2, 32)), [2, 3, 4, 8])
    .option('--groups <patterns>', 'paths whose weights get their bits together: blocks.*', (text) => text.split(','))
    .option('--budget <size>', 'of the file: 8x, 300KiB, bytes; or of a forward pass: 12.5ms', budgetText)
    .option('--monotone', 'never fewer bits for a more sensitive layer')
    .option('--layout <name>', 'what shares a scale: tensor, channel, group', choices(['tensor', 'channel', 'group']), 'group')
    .option('--group-size <n>', 'values that share a scale', integer(2, 2 ** 20), 32)
    .option('--range <name>', 'of the scales: max, mse', choices(['max', 'mse']), 'mse')
    .option('--examples <n>', 'a random part of the data; of a text so many windows, 8 side by side', integer(1), 512)
    .option('--shards <n>', 'eigenvalues: parts of these examples', integer(1, 1000), 10)
    .option('--iterations <n>', 'most products for an eigenvalue, most vectors for traces', integer(1, 100_000))
    .option('--tolerance <x>', 'relative, of the stop rule', real(0, 1))
    .option('--seed <n>', 'of examples and random vectors', integer(0), 0)
    .option('--compare', 'measure the loss directly too, and say how well the ranks agree')
    .option('--save <file>', 'write the figures as JSON', outFile)
    .option('--from <file>', 'use figures that were saved')
    .option('--resume', 'go on with an interrupted measurement (needs --save)')
    .option('--recipe <file>', 'write a recipe that holds the figures', outFile)
    .option('--plot <file>', 'write the bars as SVG', outFile)
    .option('--report <file>', 'write a self-contained HTML report', outFile)
    .option('--out <file>', 'write the model with these bits (safetensors)', outFile)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ tersor sensitivity lenet5.safetensors --data idx:mnist,split=test --examples 500\n' +
        '  $ tersor sensitivity encoder.safetensors --data tsv:train.tsv --method eigenvalue --groups "layers.*" --budget 10x --out encoder.mixed.safetensors\n' +
        '  $ tersor sensitivity whale.safetensors --data moby-dick --examples 64 --budget 8x --out whale.mixed.safetensors\n' +
        '  $ tersor sensitivity net.safetensors --data csv:flowers.csv --compare --save net.sensitivity.json --report net.html\n' +
        '  $ tersor sensitivity net.safetensors --data csv:flowers.csv --from net.sensitivity.json --budget 300KiB --recipe mixed.json',
    )
    .action((file: string, o: SensitivityCliOptions) =>
      runCommand(o.json ?? false, (ui) => run(file, o, ui), o.save === undefined ? '' : RESUME),
    )
}
