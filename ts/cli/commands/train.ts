/** `tersor train`: trains one of the built-in architectures and saves it. */
import type { Command } from 'commander'
import { trainTask } from '../../compress/train/train.js'
import type { EpochRecord } from '../../compress/outcome.js'
import { formatBytes, formatCount } from '../../report/format.js'
import { deviceOption, fallbackOption, runOnDevice, type DeviceCliOptions } from '../device-option.js'
import { eventLines, eventView, metricsText } from '../events.js'
import { integer, outFile, real } from '../options.js'
import { dropCheckpoints, removeSnapshots, saveTrainState, snapshotFile, trainPaths } from '../train-files.js'
import { trainCurves, writeTrainReport } from '../train-report.js'
import { addSettings, checkSettings, trainSettingsOf, type SettingOptions } from '../train-settings.js'
import { architectureNames, defaultsText, kindOf, refuseOthers, taskNames, type TaskCliOptions } from '../train/index.js'
import { RESUME, type Ui } from '../ui.js'
import { writeModel } from '../write-model.js'

interface TrainCliOptions extends SettingOptions, TaskCliOptions, DeviceCliOptions {
  readonly out: string
  readonly report?: string
  readonly checkpointSeconds: number
  readonly resume?: boolean
  readonly json?: boolean
}

async function trainCommand(architecture: string, o: TrainCliOptions, ui: Ui): Promise<void> {
  checkSettings(o)
  const kind = kindOf(architecture, o)
  refuseOthers(kind, o)
  const settings = trainSettingsOf(o, kind.defaults)
  const { model, task, facts, held } = await kind.prepare(architecture, o, ui)
  ui.say(
    `${architecture}: ${formatCount(model.parameters())} parameters; ${facts}${settings.precision ? `; products in ${settings.precision}` : ''}`,
  )
  const { checkpoint } = trainPaths(o.out)
  let resumed = false
  const view = o.json ? eventLines() : eventView(ui)
  const curves = trainCurves()
  const result = await trainTask(model, task, {
    ...settings,
    checkpointDir: checkpoint,
    checkpointSeconds: o.checkpointSeconds,
    resume: o.resume ?? false,
    snapshotEpochs: o.snapshots ?? [],
    onSnapshot: (epoch, s) => saveTrainState(snapshotFile(o.out, epoch), s),
    onEvent: (e) => {
      if (e.type === 'train-resume') resumed = true
      // Not sooner: until here another run may have the lock of this file.
      if (e.type === 'train-start' && !resumed) {
        if (o.resume) ui.say('nothing to resume: starting from the beginning')
        removeSnapshots(o.out)
      }
      curves.see(e)
      view.onEvent(e)
    },
    signal: ui.signal,
  }).finally(view.end)
  const { epochs, best } = result
  const chosen = best?.model ?? result.average ?? result.model
  const bytes = await writeModel(chosen, o.out, ui)
  if (result.skipped) ui.say(`${formatCount(result.skipped)} steps left out: f16 overflow`)
  if (result.stopped) ui.say(`stopped after ${epochs.length} epochs: no better evaluation`)
  dropCheckpoints(checkpoint)
  const shown: EpochRecord | undefined = best ? epochs.find((e) => e.epoch === best.epoch) : epochs.at(-1)
  const figures = metricsText(shown?.metrics)
  ui.say(`saved ${o.out}: ${formatBytes(bytes)}${figures === '' ? '' : `, ${figures} (n = ${held})`}${best ? `, epoch ${best.epoch}` : ''}`)
  if (o.report !== undefined) {
    await writeTrainReport(o.report, {
      architecture,
      facts,
      settings: result.state.settings,
      parameters: model.parameters(),
      epochs,
      curves: curves.take(),
    })
    ui.say(`report ${o.report}`)
  }
  ui.result({
    file: o.out,
    bytes,
    parameters: model.parameters(),
    settings: result.state.settings,
    epochs,
    ...(best ? { best: { epoch: best.epoch, value: best.value } } : {}),
    stopped: result.stopped,
  })
}

export function registerTrain(program: Command): void {
  const command = program
    .command('train')
    .description('train a network and save it')
    .argument('<arch>', `architecture: ${architectureNames.join(', ')}`)
    .requiredOption(
      '--data <spec>',
      'training data: idx:DIR, npz:FILE, csv:FILE or tsv:FILE (target=COLUMN: numbers to predict); for lstm and gru text:PATH, brown or moby-dick; ' +
        'for seq2seq tsv:FILE or csv:FILE with two columns, parallel:FILE,target=FILE or pronunciations',
    )
    .option(
      '--validation <spec>',
      'held-out data, evaluated after each epoch (texts and pairs: default the part that the data keeps for it)',
    )
    .requiredOption('--out <file>', 'model file to write', outFile)
    .option('--task <name>', `what is learned; the architecture and the data say it: ${taskNames.join(', ')}`)
  addSettings(command, defaultsText)
    .option('--hidden <n>', 'lstm, gru, seq2seq: units of a layer (default 200; seq2seq: 256)', integer(1, 65536))
    .option('--layers <n>', 'lstm, gru, seq2seq: layers (default 2)', integer(1, 64))
    .option('--embedding <n>', 'lstm, gru: width of the embedding (default: as --hidden)', integer(1, 65536))
    .option('--dropout <p>', 'lstm, gru, seq2seq: share of dropout (default 0.2)', real(0, 0.99))
    .option('--tied', 'lstm, gru: the decoder uses the table of the embedding')
    .option('--window <n>', 'lstm, gru: tokens that gradients go back (default 35)', integer(1, 65536))
    .option('--attention <kind>', 'seq2seq: bahdanau or luong (default bahdanau)')
    .option(
      '--decode <figure>',
      'seq2seq: write the held-out targets after each epoch and compare: bleu, cer, wer, none (default bleu; characters: cer)',
    )
    .option('--loss <kind>', 'regression: mse, huber or huber=DELTA, errors in deviations of the targets (default mse)')
    .option('--checkpoint-seconds <s>', 'time between checkpoints', real(0, 1e6), 20)
    .option('--resume', 'go on from the checkpoint of an interrupted run')
    .option('--report <file>', 'write a page with the curves of the training (HTML)', outFile)
    .addOption(deviceOption())
    .addOption(fallbackOption())
    .option('--json', 'print JSON: events as lines on stderr, the result on stdout')
    .addHelpText(
      'after',
      '\nExamples:\n  $ tersor train lenet5 --data idx:mnist --validation idx:mnist,split=test --out lenet5.safetensors --epochs 3\n' +
        '  $ tersor train mlp --data csv:iris.csv,label=species --out iris.safetensors --optimizer adamw --lr 0.003\n' +
        '  $ tersor train convnet --data idx:mnist --out net.safetensors --snapshots 1,2 --resume\n' +
        '  $ tersor train lstm --data moby-dick,lower=yes,maxSize=3000 --out whale.safetensors --keep-best --report whale.html\n' +
        '  $ tersor train mlp --data csv:houses.csv,target=price --validation csv:held.csv --out houses.safetensors --loss huber\n' +
        '  $ tersor train seq2seq --data parallel:train.en,target=train.de,lower=yes --out en-de.safetensors --metric bleu --keep-best',
    )
    .action((architecture: string, o: TrainCliOptions) => runOnDevice(o, (ui) => trainCommand(architecture, o, ui), RESUME))
}
