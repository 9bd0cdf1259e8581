/** What the command says about itself, and exit codes of wrong use. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { root, tersor } from './lib.js'

const commands = ['devices', 'inspect', 'train', 'evaluate', 'generate', 'compress', 'convert', 'demo']

describe.concurrent('help', () => {
  it.each(commands)('%s --help shows its use, options and examples that begin with it', async (name) => {
    const { code, stdout, stderr } = await tersor([name, '--help'])
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(new RegExp(`^Usage: tersor ${name} \\[options\\]`))
    expect(stdout).toMatch(/--json/)
    const examples = stdout.slice(stdout.indexOf('\nExamples:\n'))
    expect(examples.match(/^ {2}\$ .*$/gm)!.every((line) => line.includes(`tersor ${name}`))).toBe(true)
  })

  it('--help and --version', async () => {
    const [help, version] = await Promise.all([['--help'], ['--version']].map((args) => tersor(args, { alone: true })))
    expect([help!.code, version!.code]).toEqual([0, 0])
    for (const name of commands) expect(help!.stdout).toMatch(new RegExp(`^ {2}${name} `, 'm'))
    const { version: packaged } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string }
    expect(version!.stdout).toBe(`${packaged}\n`)
  })
})

describe.concurrent('wrong use is exit code 2 and says what is right', () => {
  it.each([
    [[], /Usage: tersor/],
    [['compres'], /unknown command 'compres'[^]*did you mean compress/i],
    [['devices', '--verbos'], /unknown option '--verbos'[^]*did you mean --verbose/i],
    [['inspect'], /missing required argument 'model'/],
    [['train', 'mlp', '--out', 'x'], /required option '--data <spec>' not specified/],
    [['train', 'mlp', '--data', 'csv:x', '--out', 'x', '--epochs', '0'], /must be an integer in \[1, 1000000\]/],
    [['train', 'mlp', '--data', 'csv:x', '--out', 'x', '--lr', 'fast'], /must be a number in \[0, 1000\]/],
    [['train', 'mlp', '--data', 'csv:x', '--out', 'no/such/folder/x'], /--out.*there is no folder/],
    [['train', 'mlp', '--data', 'csv:x', '--out', '.'], /--out.*is a folder/],
    [['train', 'mlp', '--data', 'csv:x', '--out', 'x', '--schedule', 'cosinus'], /--schedule must be one of constant, cosine/],
    [['train', 'mlp', '--data', 'csv:x', '--out', 'x', '--snapshots', '0,9'], /--snapshots must be in \[0, 3\], got 9/],
    [['train', 'mlp', '--data', 'csv:x', '--out', 'x', '--augment', 'flip,blur'], /--augment.*knows crop, flip.*not "blur"/],
    [['train', 'mlp', '--data', 'csv:x', '--out', 'x', '--augment', 'flip=2'], /--augment.*\/flip/],
    [['train', 'mlp', '--data', 'csv:x', '--out', 'x', '--augment', 'crop='], /--augment.*needs a number behind crop=/],
    [['train', 'mlp', '--data', 'csv:x', '--out', 'x', '--augment', 'flip,flip'], /--augment.*has flip twice/],
    [['train', 'mlp', '--data', 'csv:x', '--out', 'x', '--workers', '17'], /must be an integer in \[0, 16\]/],
    [['evaluate', 'x', '--data', 'parquet:x'], null],
    [['compress', 'x', '--recipe', 'int8-weights'], /--out FILE is needed/],
    [['compress', 'x', '--recipe', 'int8-weight', '--out', 'y'], /did you mean "int8-weights"/],
    [['compress', 'x', '--recipe', 'constructor', '--out', 'y'], /no preset and no file is named "constructor"/],
  ] as [string[], RegExp | null][])('%j', async (args, message) => {
    const { code, stdout, stderr } = await tersor(args)
    // A model that is not there is found before the data is looked at: an error of the work, not of the command line.
    expect(code).toBe(message === null ? 1 : 2)
    expect(stdout).toBe('')
    expect(stderr).toMatch(message ?? /ERR_IO/)
    expect(stderr).not.toMatch(/\n {4}at /)
  })
})
