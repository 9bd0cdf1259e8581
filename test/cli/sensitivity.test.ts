/** `tersor sensitivity`: the table, budgets, files, going on after Ctrl-C, wrong input. */
import fs from 'node:fs'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { json, succeeds, tempDir, tersor, writeFlowers } from './lib.js'

const dir = tempDir()
const at = (name: string): string => path.join(dir, name)
const model = at('model.safetensors')
const flowers = writeFlowers(at('flowers.csv'), 60)
const command = ['sensitivity', model, '--data', flowers, '--iterations', '8']

beforeAll(async () => {
  await succeeds(['train', 'mlp', '--data', flowers, '--out', model, '--epochs', '2'])
}, 60_000)

interface Result {
  readonly sensitivities: {
    readonly method: string
    readonly groups: readonly { readonly name: string; readonly choices: readonly object[] }[]
  }
  readonly assignment?: { readonly bits: Record<string, number>; readonly fileBytes: number }
  readonly spearman?: { readonly all: number }
}

describe('tersor sensitivity', () => {
  it('shows the layers, compares with the measured loss, saves, draws', async () => {
    const files = { save: at('s.json'), plot: at('s.svg'), report: at('s.html') }
    const { stdout } = await succeeds([...command, '--compare', ...Object.entries(files).flatMap(([name, file]) => [`--${name}`, file])])
    expect(stdout).toMatch(/fc1\.weight.*\u2588/)
    expect(stdout).toMatch(/rank correlation with the measured rise of the loss: -?[01]\.\d\d; at 2 bits/)
    expect(fs.readFileSync(files.plot, 'utf8')).toMatch(/^<svg [^]*fc2\.weight[^]*<\/svg>\n$/)
    expect(fs.readFileSync(files.report, 'utf8')).toContain('Sensitivity of layers')
    expect(fs.existsSync(`${files.save}.partial`)).toBe(false)
    const again = await json<Result>([...command, '--from', files.save])
    expect(again.sensitivities).toEqual(JSON.parse(fs.readFileSync(files.save, 'utf8')))
  }, 60_000)

  it('assigns bits within a budget, writes the model and a recipe that gives the same one', async () => {
    const [out, recipe, twin] = [at('small.safetensors'), at('mixed.json'), at('twin.safetensors')]
    const { assignment } = await json<Result>([...command, '--budget', '3x', '--monotone', '--out', out, '--recipe', recipe])
    expect(fs.statSync(out).size).toBe(assignment!.fileBytes)
    expect(assignment!.fileBytes).toBeLessThanOrEqual(fs.statSync(model).size / 3)
    await succeeds(['compress', model, '--recipe', recipe, '--out', twin, '--report', at('mixed.html')])
    expect(Math.abs(fs.statSync(twin).size - assignment!.fileBytes)).toBeLessThan(200) // no data in its history
    expect(fs.readFileSync(at('mixed.html'), 'utf8')).toContain('Sensitivity of layers')
  }, 60_000)

  it('goes on where an interrupted run ended', async () => {
    const save = at('long.json')
    const key = await partialKey(save)
    const straight = JSON.parse(fs.readFileSync(save, 'utf8')) as Result['sensitivities'] & { loss: number }
    // What Ctrl-C leaves: some of the state. A loss that no measurement gives shows that it was used.
    const state = { reference: { loss: 7 }, rounded: {}, eigenvalues: {}, traces: [], direct: {} }
    fs.writeFileSync(`${save}.partial`, JSON.stringify({ key, state }))
    const resumed = await json<Result & { sensitivities: { loss: number } }>([...command, '--save', save, '--resume'])
    expect(resumed.sensitivities.loss).toBe(7)
    expect(resumed.sensitivities.groups).toEqual(straight.groups)
    fs.writeFileSync(`${save}.partial`, JSON.stringify({ key: 'another', state }))
    expect((await tersor([...command, '--save', save, '--resume'])).stderr).toContain('ERR_CHECKPOINT')
  }, 60_000)

  it('refuses what it does not know', async () => {
    for (const args of [
      ['--method', 'luck'],
      ['--bits', '1'],
      ['--bits', '9'],
      ['--budget', 'much'],
      ['--budget', '1000x'],
      ['--groups', 'conv*'],
      ['--out', at('x.safetensors')],
      ['--resume'],
      ['--save', path.join(dir, 'nowhere', 's.json')],
    ]) {
      const { code, stderr } = await tersor([...command, ...args])
      expect([args, code]).toEqual([args, 2])
      expect(stderr).not.toContain('    at ')
    }
    fs.writeFileSync(at('bad.json'), '{"sensitivity": 2}')
    const bad = await tersor([...command, '--from', at('bad.json')])
    expect(bad.code).toBe(1)
    expect(bad.stderr).toContain('/sensitivity')
  }, 60_000)
})

/** The key that a run of this command keeps its state under. */
async function partialKey(save: string): Promise<string> {
  const write = fs.writeFileSync
  const partial = `${save}.partial`
  // A state of another run names nothing: the error is the way to see that it is looked at.
  write(partial, JSON.stringify({ key: 'another', state: { rounded: {} } }))
  const { stderr } = await tersor([...command, '--save', save, '--resume'])
  expect(stderr).toContain('belongs to another model')
  fs.rmSync(partial)
  const { runIdentity } = await import('../../ts/compress/index.js')
  const { loadModel } = await import('../../ts/models/file.js')
  const { loadData } = await import('../../ts/data/index.js')
  const net = loadModel(model)
  const data = await loadData(flowers, net.info.classes ? { classes: net.info.classes } : {})
  await succeeds([...command, '--save', save])
  const settings = { method: 'trace', bits: [2, 3, 4, 8], groups: [], shards: 10, seed: 0, iterations: 8 }
  return JSON.stringify({ ...settings, layout: 'group', groupSize: 32, range: 'mse', ...runIdentity(net, data) })
}
