/** `tersor run`: one run of a model on given inputs; what it gives as .npy files, times of the steps, a trace. */
import type { Command } from 'commander'
import { deviceOption, fallbackOption, runOnDevice, type DeviceCliOptions } from '../device-option.js'
import { writeNpy } from '../../formats/index.js'
import type { Model } from '../../nn/index.js'
import { formatMs, formatPercent } from '../../report/format.js'
import type { Session, SessionValue } from '../../runtime/index.js'
import { collect, inputsOf, type InputOptions } from '../session-inputs.js'
import { integer, openSize, outFile } from '../options.js'
import { start, timesText } from '../start-times.js'
import { type Ui } from '../ui.js'

interface RunOptions extends InputOptions, DeviceCliOptions {
  readonly out?: string
  readonly profile?: boolean
  readonly trace?: string
  readonly json?: boolean
}

function save(file: string, values: Readonly<Record<string, SessionValue>>): string[] {
  const entries = Object.entries(values)
  return entries.map(([name, { dtype, shape, data }]) => {
    const path = entries.length === 1 ? file : file.replace(/(\.npy)?$/, `.${name}.npy`)
    writeNpy(path, { dtype, shape, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) })
    return path
  })
}

function showProfile(s: Session, model: Model, o: RunOptions, ui: Ui): object {
  const p = s.profile(inputsOf(model, o))
  if (o.trace) p.saveTrace(o.trace)
  ui.table({
    head: ['step', 'layer', 'results', 'ms', 'share'],
    numeric: [false, false, false, true, true],
    rows: p.steps.map((q) => [q.op, q.layer, q.results, q.ms.toFixed(4), formatPercent(q.share)]),
  })
  ui.say(`${formatMs(p.ms)} in ${p.steps.length} steps${o.trace ? `; trace: ${o.trace}` : ''}`)
  return { ms: p.ms, runs: p.runs, steps: p.steps, byOp: p.byOp(), byLayer: p.byLayer() }
}

export function registerRun(program: Command): void {
  program
    .command('run')
    .description(
      'run a model on .npy files, a text or random numbers; say how, how long loading and the first output take, and each run from then on',
    )
    .argument('<model>', 'model file or folder')
    .option('--input <file>', '.npy file; several: name=file, repeated', collect)
    .option('--text <text>', 'text, for models that read text')
    .option('--batch <n>', 'examples, where no input is given', integer(1, 1e6), 1)
    .option('--size <name=n>', 'a size that the model leaves open (tokens=128); may be repeated', openSize)
    .option('--out <file>', 'writes the output as .npy (several outputs: one file each, with the name)', outFile)
    .option('--profile', 'times of each step')
    .option('--trace <file>', "writes a trace for Chrome's viewer (implies --profile)", outFile)
    .addOption(deviceOption())
    .addOption(fallbackOption())
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ tersor run model.safetensors --input x.npy --out y.npy\n  $ tersor run encoder.safetensors --text "two words" --trace trace.json\n  $ tersor run model.onnx --size height=224 --size width=224 --profile\n  $ tersor run llama.gguf --size tokens=64 --profile',
    )
    .action((file: string, o: RunOptions) =>
      runOnDevice(o, async (ui) => {
        const { model, session: s, prepared, values, times } = await start(file, (loaded) => inputsOf(loaded, o), { signal: ui.signal })
        const files = o.out ? save(o.out, values) : []
        for (const [name, { dtype, shape, data }] of Object.entries(values))
          ui.say(
            `${name} ${dtype}[${shape.join(',')}]: ${[...data.subarray(0, 8)].map((v) => Number(Number(v).toPrecision(6))).join(' ')}${data.length > 8 ? ' ...' : ''}`,
          )
        ui.say(timesText(times, prepared))
        const profile = (o.profile || o.trace) && prepared.planned ? showProfile(s, model, o, ui) : undefined
        const outputs = Object.fromEntries(Object.entries(values).map(([name, { dtype, shape }]) => [name, { dtype, shape }]))
        ui.result({ model: model.info.name, times, class: prepared, outputs, files, ...(profile ? { profile } : {}) })
        s.dispose()
        model.dispose()
      }),
    )
}
