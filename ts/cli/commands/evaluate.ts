/** `tersor evaluate`: accuracy, macro F1 and Matthews correlation bytes and latency of a classifier or encoder on held-out data; fits a probe for encoders. Models for other tasks: evaluate-tasks.ts. */
import { statSync } from 'node:fs'
import type { Command } from 'commander'
import { deviceOption, fallbackOption, runOnDevice, type DeviceCliOptions } from '../device-option.js'
import { OptionError } from '../../base/errors.js'
import { classScores, evaluateModel, fitProbe, loyaltyOf, outputs, withProbe, type Evaluation } from '../../analyze/index.js'
import type { LoyaltyFigures } from '../../analyze/metrics/index.js'
import { loadData, type Dataset } from '../../data/index.js'
import { loadModel, modelFileBytes, saveModel } from '../../models/file.js'
import type { Model } from '../../nn/index.js'
import { formatBytes, formatCount, formatMs, formatPercent } from '../../report/format.js'
import { evaluateLanguage, evaluateNumbers, evaluateTranslator, PARTS } from '../evaluate-tasks.js'
import { integer, outFile } from '../options.js'
import { asTrained } from '../as-trained.js'
import { type Ui } from '../ui.js'

interface EvaluateOptions extends DeviceCliOptions {
  readonly data: string
  readonly split?: string
  readonly probe?: string
  readonly out?: string
  readonly teacher?: string
  readonly beam?: number
  readonly json?: boolean
}

/** Fits a probe on the embeddings of the data and puts it into the model. */
export async function probed(model: Model, spec: string, ui: Ui): Promise<Model> {
  const data = await loadData(spec, { signal: ui.signal })
  const bar = ui.progress('embedding', data.size)
  const embeddings = await outputs(model, data, { signal: ui.signal, onProgress: (done) => bar.update(done) }).finally(() => bar.end())
  const probe = fitProbe(embeddings, data.labels, data.classes)
  ui.say(`probe: ${data.classes.length} classes, ${data.size} examples, l2 ${probe.l2}`)
  return withProbe(model, probe, { data: data.name, examples: data.size })
}

/** Options of classifiers and encoders, which other models do not have. */
function refuseClassifierOptions({ info }: Model, o: EvaluateOptions): void {
  const kind = info.task === 'language' ? 'a language model' : `made for ${info.task}`
  if (o.probe !== undefined || o.out !== undefined)
    throw new OptionError('ERR_OPTION', `evaluate: --probe and --out are for encoders; ${info.name} is ${kind}`)
  if (o.teacher !== undefined)
    throw new OptionError('ERR_OPTION', `evaluate: --teacher compares classifiers and encoders; ${info.name} is ${kind}`)
}

/** Loyalty of a model that was just evaluated; a teacher of other classes is ERR_OPTION. */
async function loyaltyTo(file: string, model: Model, e: Evaluation, data: Dataset, ui: Ui): Promise<LoyaltyFigures> {
  const teacher = loadModel(file)
  const bar = ui.progress('evaluating the teacher', data.size)
  const theirs = await classScores(teacher, data, { signal: ui.signal, onProgress: (done) => bar.update(done) }).finally(() => bar.end())
  return loyaltyOf({ scores: e.scores, classes: e.scores.length / e.n }, theirs, model, teacher)
}

export function registerEvaluate(program: Command): void {
  program
    .command('evaluate')
    .description('accuracy, error, perplexity or BLEU of a model on held-out data, with file size and latency')
    .argument('<model>', 'model file, or a tfjs folder of a known architecture')
    .requiredOption(
      '--data <spec>',
      'held-out data: idx:DIR,split=test, npz:FILE, csv:FILE, tsv:FILE; text:PATH, brown, moby-dick; parallel:FILE,target=FILE, pronunciations',
    )
    .option('--split <part>', 'language models: which part of the text, train, valid or test (default test)')
    .option('--probe <spec>', 'for an encoder: fit a logistic probe on this data and save it with the model')
    .option('--out <file>', 'where to save the model with its probe (default: the model file itself)', outFile)
    .option('--teacher <model>', 'label and probability loyalty to this model: how far its answers were kept')
    .option('--beam <n>', 'translators: hypotheses kept while a target is written (default 1: greedy)', integer(1, 1000))
    .addOption(deviceOption())
    .addOption(fallbackOption())
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ tersor evaluate lenet5.safetensors --data idx:mnist,split=test\n' +
        '  $ tersor evaluate encoder.safetensors --probe tsv:train.tsv --data tsv:heldout.tsv   # once, on the uncompressed encoder\n' +
        '  $ tersor evaluate encoder.int8.safetensors --data tsv:heldout.tsv --json\n' +
        '  $ tersor evaluate small.safetensors --data idx:mnist,split=test --teacher lenet5.safetensors\n' +
        '  $ tersor evaluate whale.safetensors --data moby-dick\n' +
        '  $ tersor evaluate houses.safetensors --data csv:held.csv\n' +
        '  $ tersor evaluate en-de.safetensors --data parallel:test.en,target=test.de --beam 4',
    )
    .action((file: string, o: EvaluateOptions) =>
      runOnDevice(o, async (ui) => {
        let model = loadModel(file)
        if (o.split !== undefined && !Object.hasOwn(PARTS, o.split))
          throw new OptionError(
            'ERR_OPTION',
            `evaluate: --split must be one of ${Object.keys(PARTS).join(', ')}, got ${JSON.stringify(o.split)}`,
          )
        const { task } = model.info
        if (o.beam !== undefined && task !== 'tokens')
          throw new OptionError('ERR_OPTION', `evaluate: --beam is for translators; ${model.info.name} is made for ${task}`)
        if (task === 'language' || task === 'regression' || task === 'tokens') refuseClassifierOptions(model, o)
        if (task === 'language') return evaluateLanguage(file, model, o.data, (o.split ?? 'test') as keyof typeof PARTS, ui)
        if (o.split !== undefined)
          throw new OptionError('ERR_OPTION', `evaluate: --split is for language models; give ${model.info.name} the data itself`)
        if (task === 'regression') return evaluateNumbers(file, model, o.data, ui)
        if (task === 'tokens') return evaluateTranslator(file, model, o.data, o.beam ?? 1, ui)
        const isFile = statSync(file).isFile()
        let savedAs: string | undefined
        if (o.out !== undefined && o.probe === undefined)
          throw new OptionError('ERR_OPTION', 'evaluate: --out saves a model with its probe and needs --probe SPEC')
        if (o.probe !== undefined) {
          if (model.info.task !== 'embedding')
            throw new OptionError('ERR_OPTION', `evaluate: ${model.info.name} classifies by itself and needs no probe`)
          if (o.out === undefined && !isFile)
            throw new OptionError('ERR_OPTION', 'evaluate: --out FILE is needed: the probe is saved with the model')
          model = await probed(model, o.probe, ui)
          savedAs = o.out ?? file
          saveModel(model, savedAs)
          ui.say(`saved ${savedAs}`)
        }
        const data = await loadData(o.data, { signal: ui.signal, ...asTrained(model) })
        const bar = ui.progress('evaluating', data.size)
        const e = await evaluateModel(model, data, { signal: ui.signal, onProgress: (done) => bar.update(done) }).finally(() => bar.end())
        const loyal = o.teacher === undefined ? undefined : await loyaltyTo(o.teacher, model, e, data, ui)
        const at = savedAs ?? (isFile ? file : undefined)
        const bytes = at === undefined ? modelFileBytes(model) : statSync(at).size
        ui.table({
          head: ['model', 'file', 'metric', 'value', '95 % interval', 'n', 'macro F1', 'Matthews', 'p50', 'p95'],
          numeric: [false, true, false, true, true, true, true, true, true, true],
          rows: [
            [
              model.info.name,
              formatBytes(bytes),
              'accuracy',
              formatPercent(e.accuracy, 2),
              `${formatPercent(e.interval[0])} to ${formatPercent(e.interval[1])}`,
              formatCount(e.n),
              formatPercent(e.macroF1, 2),
              e.matthews.toFixed(4),
              formatMs(e.latency.p50),
              formatMs(e.latency.p95),
            ],
          ],
        })
        if (loyal)
          ui.say(
            `loyalty to ${o.teacher}: labels ${formatPercent(loyal.label, 2)}, probabilities ${formatPercent(loyal.probability, 2)} (n = ${formatCount(loyal.count)})`,
          )
        ui.result({
          model: model.info.name,
          file: savedAs ?? file,
          bytes,
          metric: 'accuracy',
          value: e.accuracy,
          interval: e.interval,
          n: e.n,
          macroF1: e.macroF1,
          matthews: e.matthews,
          latencyMs: e.latency,
          ...(loyal ? { loyalty: { label: loyal.label, probability: loyal.probability } } : {}),
        })
      }),
    )
}
