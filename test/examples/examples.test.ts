/** Every example runs as a reader would run it, and shows what it says. */
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseRecipe } from '../../ts/compress/index.js'
import { environment, json, root, succeeds, tempDir, writeFlowers, writeImages } from '../cli/lib.js'

const folder = path.join(root, 'examples')

function run(name: string, ...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [path.join(folder, name), ...args], {
    cwd: tempDir(),
    env: environment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => void (stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => void (stderr += chunk.toString()))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, stdout, stderr }))
  })
}

const shows: Readonly<Record<string, readonly RegExp[]>> = {
  '01-tensors-and-gradients.mjs': [
    /^step 0: loss 33\.0000$/m,
    /^step 200: loss 0\.0000$/m,
    /^y = 2\.00 x \+ 1\.00$/m,
    /^curvature: 12\.0, 4\.0$/m,
    /a few KB/,
  ],
  '09-hessian.mjs': [
    /^eigenvalues: 4\.4142, 1\.5858$/m,
    /^178 parameters: largest eigenvalue positive: true, from \d\d? products$/m,
    /^trace positive, known to \d\d? %$/m,
    /^mass of the density: 1\.000$/m,
  ],
  '10-data-and-metrics.mjs': [
    /^1200 rows of 2, 24 batches an epoch$/m,
    /^batches from workers$/m,
    /^accuracy 0\.9\d, macro F1 0\.9\d, Matthews 0\.\d\d$/m,
  ],
  '11-transformers.mjs': [
    /^little BERT: 26\d\d\d parameters; GPT-2 would have 124439808$/m,
    /^loss 0\.[6-9]\d -> 0\.[0-3]\d in 15 epochs$/m,
    /^config\.json, model\.safetensors, tokenizer\.json, tokenizer_config\.json$/m,
    /^"the origin of whales"; right on 1[56] of 16 sentences$/m,
  ],
  '14-sessions.mjs': [
    /^scores f32\[1,10\]$/m,
    /^twenty at once, all alike: true$/m,
    /^f32\[1,1,28,28\]: plan of \d+ steps, 21 runs, arena smaller than its tensors: true$/m,
    /^dearest op takes a share: true; trace has \d+ events a run$/m,
  ],
  '15-server.mjs': [/^answers: 10$/m, /^wrong input: \{"status":400,"error":"16 numbers are needed"\}$/m],
  '16-worker-pool.mjs': [/^tasks done: 12$/m, /^native memory left by workers: 0$/m],
  '13-train-any-task.mjs': [
    /^stopped: ERR_ABORTED$/m,
    /^same bits: true$/m,
    /^mse on held-out waves: 0\.\d+ -> 0\.0\d+; noise: 0\.250$/m,
    /^best epoch has the least: true$/m,
  ],
  '02-train-and-prune.mjs': [
    /^7\d\d\d of 35604 weights are left$/m,
    /, (9|1\d)\.\dx smaller$/m,
    /^accuracy 0\.9\d* -> 0\.9\d* on 400 examples$/m,
  ],
  '03-quantize-a-model.mjs': [
    /^untrained LeNet-5, 61706 parameters$/m,
    /^8 bits per channel: 3\.\d\dx smaller, largest error 0\.\d %$/m,
    /^4 bits per channel: 7\.\d\dx smaller, largest error [67]\.\d %$/m,
    /^4 bits, groups of 32: 6\.\d\dx smaller, largest error [67]\.\d %$/m,
    /^2 bits, groups of 16: 10\.\d\dx smaller/m,
  ],
  '04-kernels-for-other-packages.mjs': [
    /^levels here: scalar/m,
    /^int8 products run on qgemm_u8s8s32_/m,
    /^int8: {3}-0\.7\d 4\.5\d$/m,
    /^back: {3}0\.50 -1\.00 0\.25 0 2\.00 0 -0\.50 1\.0\d$/m,
    /^sparse: -0\.75 4\.50 from 6 of 8 weights$/m,
    /^top 3: {2}0\.50 0 0 0 2\.00 0 0 1\.00$/m,
  ],
  '05-write-a-pass.mjs': [
    /^plain: fc1 is off by 7\d\.\d %$/m,
    /^clipped: fc1 is off by 4\d\.\d %$/m,
    /^\{"pass":"clip\/outliers","version":1,"options":\{"deviations":3\}\}$/m,
    /^ERR_RECIPE recipe \/stages\/0\/0\/options\/deviation: unknown key "deviation"; did you mean "deviations"\?$/m,
  ],
  '07-one-layer-eight-ways.mjs': [
    /^f32 +1024 KiB {2}error 0\.00 %$/m,
    /^bf16 +51\d KiB {2}error 0\.2\d %$/m,
    /^int8, x too +2\d\d KiB {2}error 0\.5\d %$/m,
    /^4 bits in groups of 32 +1[67]\d KiB {2}error 6\.\d\d %$/m,
    /^CSR, 90 % zeros +15\d KiB {2}error 0\.00 %$/m,
    /^2:4 +5\d\d KiB {2}error 0\.00 %$/m,
    /^f32, into memory that exists +1024 KiB {2}error 0\.00 %$/m,
  ],
  '12-spelling-to-sound.mjs': [
    /^119676 parameters, 836 words to learn, 100 others to try$/m,
    /^loss 1\.\d\d -> 0\.[0-4]\d$/m,
    /^phoneme errors [12]?\d\.\d %, with a beam of four [12]?\d\.\d %$/m,
  ],
  '18-dual-module.mjs': [/^dense: perplexity \d\.\d\d$/m, /^90 % insensitive: perplexity \d\.\d\d; by step: (\d+ ){11}\d+ %$/m],
  '17-distill.mjs': [
    /^teacher: 10420 parameters, loyalty of labels 100\.0 %, of probabilities 100\.0 %$/m,
    /^half of the blocks: 5716 parameters, loyalty of labels 9\d\.\d %/m,
    /^nearer to the teacher than from labels: true$/m,
  ],
  '08-bench.mjs': [/^64 x 64 +tersor +[\d.]+ [num]s/m, /^512 x 512 +a loop +[\d.]+ [num]s/m],
}

describe.concurrent('examples', () => {
  it('all of them are listed here and in their index', () => {
    const programs = fs.readdirSync(folder).filter((name) => /^\d\d-/.test(name))
    expect(programs).toEqual([...Object.keys(shows), '06-recipe.json'].sort())
    const index = fs.readFileSync(path.join(folder, 'README.md'), 'utf8')
    for (const name of programs) expect(index).toContain(`](${name})`)
    for (const [, target] of index.matchAll(/\]\(([^)]+)\)/g)) expect(fs.existsSync(path.join(folder, target!)), target).toBe(true)
  })

  it.each(Object.entries(shows))('%s', async (name, patterns) => {
    const { code, stdout, stderr } = await run(name)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const pattern of patterns) expect(stdout).toMatch(pattern)
  })

  it('03 takes a model file', async () => {
    const dir = tempDir()
    const model = path.join(dir, 'flowers.safetensors')
    await succeeds(['train', 'mlp', '--data', writeFlowers(path.join(dir, 'flowers.csv'), 60), '--out', model, '--epochs', '1'])
    const { code, stdout } = await run('03-quantize-a-model.mjs', model)
    expect(code).toBe(0)
    expect(stdout).toMatch(/^mlp, 31903 parameters$/m)
  })

  it('06: the recipe is whole and does what its name says', async () => {
    const recipe = path.join(folder, '06-recipe.json')
    const text = fs.readFileSync(recipe, 'utf8')
    expect(parseRecipe(text).name).toBe((JSON.parse(text) as { name: string }).name)
    const dir = tempDir()
    const images = writeImages(path.join(dir, 'mnist'), { train: 64, test: 32 })
    const model = path.join(dir, 'lenet5.safetensors')
    await succeeds(['train', 'lenet5', '--data', images, '--out', model, '--epochs', '1'])
    const args = ['--recipe', recipe, '--out', path.join(dir, 'small.safetensors'), '--validation', `${images},split=test`]
    const made = await json<{
      bytesBefore: number
      bytes: number
      report: { layers: { path: string; after: { density: number; description: string } }[] }
    }>(['compress', model, ...args])
    const after = Object.fromEntries(made.report.layers.map((l) => [l.path, l.after]))
    expect(after['conv1.weight']).toMatchObject({ density: 1, description: expect.stringMatching(/^int6/) })
    expect(after['conv2.weight']!.density).toBeLessThan(0.9)
    expect(after['fc2.weight']!.description).toMatch(/sparse/)
    expect(made.bytesBefore / made.bytes).toBeGreaterThan(4)
  })
})
