/**
 * Interrupted work: Ctrl-C and kill -9 in the middle leave what was at the destination, and `--resume` gives the same bytes as a run that nobody
 * disturbed.
 */
import fs from 'node:fs'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import type { CompressReport } from '../../ts/compress/index.js'
import { Workspace } from '../../ts/formats/workspace.js'
import { filesIn } from '../formats/lib.js'
import { json, succeeds, tempDir, tersor, when, writeArrays, writeFlowers } from './lib.js'

const dir = tempDir()
const at = (name: string): string => path.join(dir, name)
const flowers = writeFlowers(at('flowers.csv'), 600)
const held = writeFlowers(at('held.csv'), 90, 2)
const OLD = 'what was here before'

const bytesOf = (name: string): Buffer => fs.readFileSync(at(name))
/** A report without what the clock says. */
const withoutTimes = (report: unknown): unknown =>
  JSON.parse(JSON.stringify(report, (key, value: unknown) => (key === 'seconds' ? undefined : value)))
/** Files at the destination besides the checkpoints and what was there. */
const beside = (name: string): string[] => filesIn(dir).filter((f) => f.startsWith(name) && f !== name)

describe.concurrent('train', () => {
  const arrays = writeArrays(at('arrays.npz'), 480)
  const command = (out: string): string[] => [
    'train',
    'convnet',
    '--data',
    arrays,
    '--out',
    at(out),
    '--epochs',
    '8',
    '--batch',
    '8',
    '--snapshots',
    '2,8',
  ]

  it('Ctrl-C, then --resume: the same file and snapshots', async () => {
    fs.writeFileSync(at('stopped'), OLD)
    const [whole, first] = await Promise.all([
      succeeds(command('whole'), { env: { TERSOR_THREADS: '2' } }),
      tersor(command('stopped'), { onOutput: when(/epoch 3\/8/, 'SIGINT') }),
    ])
    expect({ code: first.code, stderr: first.stderr }).toEqual({
      code: 130,
      stderr: expect.stringMatching(/stopping at the next safe point.*\n.*run the same command with --resume to go on/),
    })
    expect(bytesOf('stopped').toString()).toBe(OLD)
    expect(beside('stopped')).toEqual(['stopped.checkpoint', 'stopped.snapshots'])
    const second = await succeeds([...command('stopped'), '--resume'])
    expect(second.stdout).toMatch(/^resuming at step \d+$/m)
    expect(second.stdout).not.toMatch(/epoch 3\/8/)
    expect(whole.stdout).toMatch(/epoch 3\/8/)
    expect(bytesOf('stopped').equals(bytesOf('whole'))).toBe(true)
    expect(beside('stopped')).toEqual(['stopped.snapshots'])
    for (const epoch of [2, 8])
      expect(
        bytesOf(`stopped.snapshots/epoch-${epoch}.safetensors`).equals(bytesOf(`whole.snapshots/epoch-${epoch}.safetensors`)),
        `epoch ${epoch}`,
      ).toBe(true)
  })

  it('a second run while the first one trains: ERR_BUSY, and the snapshots of the first stay', async () => {
    const snapshot = at('busy.snapshots/epoch-1.safetensors')
    fs.mkdirSync(path.dirname(snapshot))
    fs.writeFileSync(snapshot, 'of the first')
    const other = new Workspace(at('busy.checkpoint'))
    try {
      const { code, stderr } = await tersor(['train', 'mlp', '--data', flowers, '--out', at('busy'), '--epochs', '1'])
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('ERR_BUSY') })
      expect(fs.readFileSync(snapshot, 'utf8')).toBe('of the first')
    } finally {
      other.close()
    }
    await succeeds(['train', 'mlp', '--data', flowers, '--out', at('busy'), '--epochs', '1'])
    expect(fs.existsSync(snapshot)).toBe(false)
  })

  it('--json: one value on stdout also when it was interrupted; nothing to resume is said', async () => {
    const args = ['train', 'mlp', '--data', flowers, '--out', at('never'), '--epochs', '100000', '--json']
    // No output to wait for: the checkpoint of the first epoch tells that it is running.
    const { code, stdout } = await tersor([...args, '--snapshots', '1'], {
      shell: `"$@" & while [ ! -e ${at('never.snapshots')}/epoch-1.safetensors ]; do sleep 0.05; done; kill -INT $!; wait $!`,
    })
    expect(code).toBe(130)
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'ERR_ABORTED' } })
    expect(fs.existsSync(at('never'))).toBe(false)
    const fresh = await succeeds(['train', 'mlp', '--data', held, '--out', at('fresh'), '--epochs', '1', '--resume'])
    expect(fresh.stdout).toMatch(/^nothing to resume: starting from the beginning$/m)
    // Another training must not go on from this checkpoint.
    const other = await tersor(['train', 'mlp', '--data', flowers, '--out', at('never'), '--epochs', '5', '--resume'])
    expect({ code: other.code, stderr: other.stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/ERR_CHECKPOINT.*another training: its settings.*epochs 100000, now 5/),
    })
  })
})

describe.concurrent('train a language model', () => {
  const text = at('text.txt')
  fs.writeFileSync(
    text,
    Array.from({ length: 300 }, (_, i) => `the ${['cat', 'dog', 'hen'][i % 3]} sees the ${['sun', 'sea'][i % 2]}`).join('\n'),
  )
  const command = (out: string): string[] => {
    const sizes = ['--hidden', '24', '--batch', '4', '--window', '12', '--epochs', '6', '--keep-best', '--checkpoint-seconds', '0']
    return ['train', 'lstm', '--data', `text:${text}`, '--out', at(out), ...sizes]
  }
  const whole = succeeds(command('lm whole'))

  it.each(['SIGINT', 'SIGKILL'] as const)('%s, then --resume: the same bytes, and a perplexity', async (signal) => {
    const name = `lm ${signal}`
    const first = await tersor(command(name), { onOutput: when(/epoch 2\/6/, signal) })
    expect(signal === 'SIGINT' ? first.code : first.signal).toBe(signal === 'SIGINT' ? 130 : 'SIGKILL')
    const generations = fs
      .readdirSync(at(`${name}.checkpoint`))
      .filter((f) => f.startsWith('tersor-train-'))
      .sort()
    expect(generations.length).toBeGreaterThanOrEqual(2)
    // Half of the newest: the one before is taken, and both are named.
    const newest = at(`${name}.checkpoint/${generations.at(-1)!}`)
    fs.truncateSync(newest, Math.floor(fs.statSync(newest).size / 2))
    const second = await succeeds([...command(name), '--resume'])
    const number = (file: string): number => Number(/\d+/.exec(file)![0])
    expect(second.stderr).toContain(`warning: checkpoint ${number(generations.at(-1)!)} cannot be used`)
    expect(second.stderr).toContain(`going on from ${number(generations.at(-2)!)}`)
    expect(second.stdout).not.toMatch(/epoch 1\/6/)
    await whole
    expect(bytesOf(name).equals(bytesOf('lm whole'))).toBe(true)
    expect(beside(name)).toEqual([])
    const found = await json(['evaluate', at(name), '--data', `text:${text}`])
    expect(found).toMatchObject({ metric: 'perplexity', split: 'test', n: expect.any(Number) })
    expect(found.value).toBeGreaterThan(1)
    // Eleven tokens are known; each line leaves six choices.
    expect(found.value).toBeLessThan(5)
  })
})

describe.concurrent('compress', () => {
  const model = at('mlp.safetensors')
  const recipe = at('recipe.json')
  const rounds = (count: number, options: object): object => ({
    pass: 'prune/magnitude',
    options: { iterative: { fraction: 0.2, rounds: count }, scope: 'global', ...options },
  })
  const stages = [
    [rounds(2, { retrain: { kind: 'rewindLearningRate', epochs: 1 } })],
    [rounds(6, { retrain: { kind: 'finetune', epochs: 2, lr: 0.01 } })],
    [{ pass: 'quantize/static-int8' }],
    [{ pass: 'sparsify/csr' }],
  ]
  const command = (out: string): string[] => [
    'compress',
    model,
    '--recipe',
    recipe,
    '--data',
    flowers,
    '--validation',
    held,
    '--out',
    at(out),
  ]
  const withReport = (out: string): string[] => [...command(out), '--report', at(`${out}.html`)]

  let whole: CompressReport
  beforeAll(async () => {
    fs.writeFileSync(recipe, JSON.stringify({ recipe: 1, seed: 4, stages }))
    await succeeds(['train', 'mlp', '--data', flowers, '--out', model, '--epochs', '2', '--batch', '8', '--lr', '0.02'])
    whole = (await json<{ report: CompressReport }>(withReport('whole.model'), { env: { TERSOR_THREADS: '2' } })).report
  })

  it.each([
    ['Ctrl-C in the middle of a pass', 'SIGINT', /stage 2\/4 prune[^]*round 2 of 6: epoch 2/],
    ['SIGTERM in the middle of a pass', 'SIGTERM', /stage 2\/4 prune[^]*round 4 of 6: epoch 1/],
    ['kill -9 in the second stage', 'SIGKILL', /stage 2\/4 prune[^]*round 3 of 6: epoch 1/],
    ['kill -9 before the first checkpoint', 'SIGKILL', /round 1 of 2: epoch/],
  ] as const)('%s, then --resume: the same bytes', async (title, signal, moment) => {
    const name = `out ${title}`
    fs.writeFileSync(at(name), OLD)
    const first = await tersor(command(name), { onOutput: when(moment, signal) })
    if (signal === 'SIGKILL') expect(first.signal).toBe('SIGKILL')
    else {
      expect(first.code, first.stderr).toBe(130)
      expect(first.stderr).toMatch(/run the same command with --resume to go on/)
    }
    expect(bytesOf(name).toString()).toBe(OLD)
    expect(beside(name)).toEqual([`${name}.checkpoint`])
    // A machine with other work may be so slow that the clock asks for a checkpoint before the kill comes.
    const saved = fs.readdirSync(at(`${name}.checkpoint`)).some((file) => file.startsWith('tersor-run-'))
    if (!title.includes('before the first')) expect(saved).toBe(true)
    const second = await succeeds([...withReport(name), '--resume'])
    // Where a checkpoint was, what came before it is not done again.
    expect(/^resuming from checkpoint \d+$/m.test(second.stdout)).toBe(saved)
    expect(/round 1 of 2: epoch/.test(second.stdout)).toBe(!saved)
    expect(bytesOf(name).equals(bytesOf('whole.model'))).toBe(true)
    expect(beside(name)).toEqual([`${name}.html`])
  })

  it('interrupted twice: the same bytes and report; a checkpoint of another recipe is refused', async () => {
    const name = 'twice'
    await tersor(command(name), { onOutput: when(/stage 2\/4 prune[^]*round 1 of 6: epoch 1/, 'SIGINT') })
    const again = await tersor([...command(name), '--resume'], { onOutput: when(/round 3 of 6: epoch 1/, 'SIGINT') })
    expect(again.code).toBe(130)
    expect(again.stdout).toMatch(/^resuming from checkpoint \d+$/m)
    const other = await tersor(['compress', model, '--recipe', 'int8-weights', '--out', at(name), '--resume'])
    expect({ code: other.code, stderr: other.stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/ERR_CHECKPOINT.*recipe is not the same/),
    })
    const { report } = await json<{ report: CompressReport }>([...command(name), '--resume'])
    expect(bytesOf(name).equals(bytesOf('whole.model'))).toBe(true)
    expect(report.passes.map((p) => p.epochs.length)).toEqual([2, 12, 0, 0])
    expect(withoutTimes(report)).toEqual(withoutTimes(whole))
    const { stdout } = await succeeds(['compress', model, '--recipe', 'int8-weights', '--out', at(name), '--resume'])
    expect(stdout).toMatch(/^nothing to resume/m)
  })
})
