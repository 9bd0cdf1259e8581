#!/usr/bin/env node
/** The `tersor` command: one file per subcommand in commands/. */
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
import { registerTrain } from './commands/train.js'
import { EXIT } from './ui.js'

export function makeProgram(): Command {
  const program = new Command('tersor')
    .description('Makes neural networks small and fast: quantize, prune, sparsify, measure, run.')
    .version(VERSION)
    .showSuggestionAfterError()
    .showHelpAfterError('(add --help for the options and examples)')
    .exitOverride()
  for (const register of [
    registerDevices,
    registerInspect,
    registerTrain,
    registerEvaluate,
    registerGenerate,
    registerAnalyze,
    registerCompress,
    registerConvert,
    registerRun,
    registerBench,
    registerDemo,
  ])
    register(program)
  return program
}

makeProgram()
  .parseAsync()
  .catch((e: unknown) => {
    // Commander has printed its message already; help and version are no failures.
    if (e instanceof CommanderError) process.exitCode = e.exitCode === 0 ? EXIT.ok : EXIT.usage
    else throw e
  })
