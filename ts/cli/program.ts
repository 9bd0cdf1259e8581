/** The `tersor` command as a function: one file per subcommand in commands/. */
import { Command, CommanderError } from 'commander'
import { VERSION } from '../base/version.js'
import { registerAnalyze } from './commands/analyze.js'
import { registerBench } from './commands/bench.js'
import { registerCompress } from './commands/compress.js'
import { registerConvert } from './commands/convert.js'
import { registerDemo } from './commands/demo.js'
import { registerDevices } from './commands/devices.js'
import { registerEvaluate } from './commands/evaluate.js'
import { registerGenerate } from './commands/generate.js'
import { registerInspect } from './commands/inspect.js'
import { registerRun } from './commands/run.js'
import { registerSensitivity } from './commands/sensitivity.js'
import { registerTrain } from './commands/train.js'
import { io, withIo, type Io } from './io.js'
import { EXIT } from './ui.js'

function makeProgram(): Command {
  const program = new Command('tersor')
    .description('Makes neural networks small and fast: quantize, prune, sparsify, measure, run.')
    .version(VERSION)
    .showSuggestionAfterError()
    .showHelpAfterError('(add --help for the options and examples)')
    .exitOverride()
    .configureOutput({ writeOut: (text) => void io().stdout.write(text), writeErr: (text) => void io().stderr.write(text) })
  for (const register of [
    registerDevices,
    registerInspect,
    registerTrain,
    registerEvaluate,
    registerGenerate,
    registerAnalyze,
    registerSensitivity,
    registerCompress,
    registerConvert,
    registerRun,
    registerBench,
    registerDemo,
  ])
    register(program)
  return program
}

async function runProgram(args: readonly string[]): Promise<void> {
  try {
    await makeProgram().parseAsync(args, { from: 'user' })
  } catch (e) {
    // Commander has printed its message already; help and version are no failures.
    if (!(e instanceof CommanderError)) throw e
    io().exitCode = e.exitCode === 0 ? EXIT.ok : EXIT.usage
  }
}

/**
 * Runs one command line (without `node` and the name of the program). With streams of the caller it gets no signals and leaves the process as it is;
 * else it writes to those of the process, Ctrl-C stops it, and the exit code becomes that of the process.
 */
export async function runCli(args: readonly string[], streams?: Pick<Io, 'stdout' | 'stderr'>): Promise<number> {
  const own: Io = streams ? { ...streams } : process
  await (streams ? withIo(own, () => runProgram(args)) : runProgram(args))
  return Number(own.exitCode ?? EXIT.ok)
}
