/** `tersor bench`: how fast a model runs here, and what compression of each layer bought beside a dense twin. */
import type { Command } from 'commander'
import { threads } from '../../native/devices.js'
import { formatMs } from '../../report/format.js'
import { speeds, type LayerSpeed } from '../../runtime/index.js'
import { io } from '../io.js'
import { integer, openSize, real } from '../options.js'
import { collect, inputsOf, type InputOptions } from '../session-inputs.js'
import { start, timesText } from '../start-times.js'
import { EXIT, runCommand } from '../ui.js'

interface BenchOptions extends InputOptions {
  readonly rounds: number
  readonly requireSpeedup?: number | true
  readonly json?: boolean
}

const row = (l: LayerSpeed): string[] => [
  l.layer || '(model)',
  l.weight,
  formatMs(l.denseMs),
  formatMs(l.compressedMs),
  `${l.speedup.toFixed(2)}x`,
]

export function registerBench(program: Command): void {
  program
    .command('bench')
    .description('time a compressed model and each compressed layer beside a dense twin, on this machine')
    .argument('<model>', 'model file or folder')
    .option('--input <file>', '.npy file; several: name=file, repeated', collect)
    .option('--text <text>', 'text, for models that read text')
    .option('--batch <n>', 'examples, where no input is given', integer(1, 1e6), 1)
    .option('--size <name=n>', 'a size that the model leaves open (tokens=128); may be repeated', openSize)
    .option('--rounds <n>', 'samples of each', integer(1, 1e4), 15)
    .option(
      '--require-speedup [factor]',
      'fail (exit code 1) when a compressed layer or the model is not that much faster (default 1)',
      real(1e-9, 1e9),
    )
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  $ tersor bench small.safetensors\n  $ tersor bench small.safetensors --require-speedup 1.5')
    .action((file: string, o: BenchOptions) =>
      runCommand(o.json ?? false, async (ui) => {
        const { model, session: s, prepared, inputs, times } = await start(file, (loaded) => inputsOf(loaded, o), { signal: ui.signal })
        s.dispose()
        ui.say(timesText(times, prepared))
        const { whole, layers } = speeds(model, inputs, { rounds: o.rounds })
        ui.table({
          head: ['layer', 'weight', 'dense', 'as it is', 'speedup'],
          numeric: [false, false, true, true, true],
          rows: [...layers, whole].map(row),
        })
        const least = o.requireSpeedup === undefined ? undefined : o.requireSpeedup === true ? 1 : o.requireSpeedup
        const missed = [...layers, whole].filter((l) => l.speedup < (least ?? 1))
        if (missed.length > 0)
          ui.say(`${least === undefined ? 'did not pay' : `not ${least}x as fast`}: ${missed.map((l) => l.layer || '(model)').join(', ')}`)
        ui.result({
          model: model.info.name,
          threads: threads(),
          times,
          whole,
          layers,
          ...(least === undefined ? {} : { requireSpeedup: least }),
          missed: missed.map((l) => l.layer),
        })
        if (least !== undefined && missed.length > 0) io().exitCode = EXIT.failure
        model.dispose()
      }),
    )
}
