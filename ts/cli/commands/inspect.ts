/** `tersor inspect`: what is in a model file. */
import type { Command } from 'commander'
import { inspect } from '../../analyze/index.js'
import { loadModel } from '../../models/file.js'
import { formatBytes, formatCount, formatPercent } from '../../report/format.js'
import { runCommand } from '../ui.js'

export function registerInspect(program: Command): void {
  program
    .command('inspect')
    .description('list the weights of a model: path, kind, shape, parameters, sparsity, bytes')
    .argument('<model>', 'model file (safetensors, ONNX, tfjs model.json), or a folder: Hugging Face or tfjs')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  $ tersor inspect encoder.safetensors\n  $ tersor inspect small.safetensors --json')
    .action((file: string, o: { json?: boolean }) =>
      runCommand(o.json ?? false, async (ui) => {
        const model = loadModel(file)
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
