/** Wrong input of every kind: an exit code, a typed error that says what is wrong, no stack, nothing written. */
import fs from 'node:fs'
import path from 'node:path'
import { spawnSync } from 'node:child_process'
import { beforeAll, describe, expect, it } from 'vitest'
import { filesIn } from '../formats/lib.js'
import { succeeds, tempDir, tersor, writeArrays, writeFlowers, writeImages } from './lib.js'

const dir = tempDir()
const at = (name: string): string => path.join(dir, name)
const model = at('model.safetensors')
const flowers = writeFlowers(at('flowers.csv'), 60)
const images = writeImages(at('images'), { train: 16, test: 8 })
const write = (name: string, text: string | Uint8Array): string => {
  fs.writeFileSync(at(name), text)
  return at(name)
}
const recipe = (name: string, stages: unknown, more: object = {}): string =>
  write(name, JSON.stringify({ recipe: 1, seed: 0, stages, ...more }))

beforeAll(async () => {
  await succeeds(['train', 'mlp', '--data', flowers, '--out', model, '--epochs', '2'])
  const whole = fs.readFileSync(model)
  write('cut.safetensors', whole.subarray(0, whole.length - 1000))
  const flipped = Buffer.from(whole)
  flipped[whole.length - 5000]! ^= 1
  write('flipped.safetensors', flipped)
  // NaN put into the values with the checksums made new: a file that some other program wrote.
  const values = Buffer.from(whole)
  const headerLength = Number(values.readBigUInt64LE(0))
  const header = JSON.parse(values.subarray(8, 8 + headerLength).toString()) as {
    [name: string]: { data_offsets?: [number, number] } & Record<string, string>
  }
  values.writeFloatLE(NaN, 8 + headerLength + header['fc1.weight']!.data_offsets![0])
  const metadata = header.__metadata__ as Record<string, string>
  for (const key of Object.keys(metadata)) if (key !== 'tersor') delete metadata[key]
  let text = JSON.stringify(header)
  text = text.padEnd(headerLength)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  write('nan.safetensors', Buffer.concat([length, Buffer.from(text), values.subarray(8 + headerLength)]))
})

const evaluate = (file: string, data: string): string[] => ['evaluate', file, '--data', data]
const compressBy = (by: string, ...more: string[]): string[] => ['compress', model, '--recipe', by, '--out', at('out'), ...more]
const trainOn = (data: string, arch = 'mlp'): string[] => ['train', arch, '--data', data, '--out', at('out'), '--epochs', '1']

const table: readonly (readonly [string, () => string[], number, string, RegExp])[] = [
  ['a model that is not there', () => evaluate(at('none'), flowers), 1, 'ERR_IO', /ENOENT.*none/],
  ['data that are not there', () => evaluate(model, `csv:${at('none.csv')}`), 1, 'ERR_IO', /ENOENT.*none\.csv/],
  ['a folder of images without images', () => trainOn(`idx:${dir}`), 1, 'ERR_DATA', /train-images-idx3-ubyte/],
  ['a truncated model', () => evaluate(at('cut.safetensors'), flowers), 1, 'ERR_MODEL_FORMAT', /cut\.safetensors/],
  ['a flipped bit in a model', () => ['inspect', at('flipped.safetensors')], 1, 'ERR_MODEL_FORMAT', /checksum/i],
  ['a model that is text', () => ['inspect', write('text', 'hello')], 1, 'ERR_', /text/],
  [
    'an array where a model should be',
    () => ['inspect', writeArrays(at('a.npz'), 4).slice(4).replace(/,.*/, '')],
    1,
    'ERR_UNSUPPORTED',
    /tensors, not models/,
  ],
  [
    'a truncated array',
    () => trainOn(`npz:${write('cut.npz', fs.readFileSync(writeArrays(at('b.npz'), 8).slice(4).replace(/,.*/, '')).subarray(0, 900))}`),
    1,
    'ERR_MODEL_FORMAT',
    /cut\.npz/,
  ],
  ['images for a model of flowers', () => evaluate(model, images), 1, 'ERR_DATA', /label|class|samples/],
  ['flowers for a convolutional net', () => trainOn(flowers, 'lenet5'), 2, 'ERR_OPTION', /lenet5: takes images/],
  [
    'text for a net of numbers',
    () => trainOn(`tsv:${write('t.tsv', 'text\tlabel\nhello\ta\nworld\tb\n')}`),
    2,
    'ERR_OPTION',
    /mlp takes numbers, .* holds text/,
  ],
  [
    'samples of another width',
    () => evaluate(model, `csv:${write('w.csv', '1,2,rose\n')},header=no,label=2`),
    1,
    'ERR_DATA',
    /samples are \[2\], the model takes \[4\]/,
  ],
  [
    'columns that are missing',
    () => evaluate(model, `csv:${write('m.csv', 'a,b,label\n1,2,rose\n')}`),
    1,
    'ERR_DATA',
    /columns are not those of the training: the file lacks "c", "d"/,
  ],
  [
    'a class that the model does not know',
    () => evaluate(model, `csv:${write('c.csv', 'a,b,c,d,label\n1,2,3,4,oak\n')}`),
    1,
    'ERR_DATA',
    /oak/,
  ],
  ['NaN in data', () => trainOn(`csv:${write('nan.csv', 'a,b,label\n1,2,x\n3,NaN,y\n')}`), 1, 'ERR_DATA', /"NaN" is not a finite number/],
  ['a missing value', () => trainOn(`csv:${write('gap.csv', 'a,b,label\n1,2,x\n3,,y\n')}`), 1, 'ERR_DATA', /the value is missing/],
  [
    'NaN in weights',
    () => ['compress', at('nan.safetensors'), '--recipe', 'int8-weights', '--out', at('out')],
    1,
    'ERR_NUMERIC',
    /fc1\.weight/,
  ],
  [
    'an unknown architecture',
    () => trainOn(flowers, 'lenet'),
    2,
    'ERR_OPTION',
    /unknown architecture "lenet"; known: mlp, lenet5, convnet/,
  ],
  ['an unknown kind of data', () => trainOn('cvs:x'), 2, 'ERR_OPTION', /format "cvs" is unknown[^]*csv:FILE/],
  [
    'an unknown option of data',
    () => trainOn(`csv:${at('flowers.csv')},lable=a`),
    2,
    'ERR_OPTION',
    /option "lable" is unknown, csv has label/,
  ],
  ['a column that is not there', () => trainOn(`csv:${at('flowers.csv')},label=species`), 1, 'ERR_DATA', /species/],
  ['a recipe that is not JSON', () => compressBy(write('r0', '{ recipe: 1 }')), 1, 'ERR_', /recipe/],
  ['an unknown recipe key', () => compressBy(recipe('r1', [], { sede: 1 })), 1, 'ERR_RECIPE', /unknown key "sede"; did you mean "seed"\?/],
  [
    'an unknown pass',
    () => compressBy(recipe('r2', [[{ pass: 'prune/magnitud' }]])),
    1,
    'ERR_RECIPE',
    /unknown pass "prune\/magnitud"; did you mean "prune\/magnitude"\?/,
  ],
  [
    'an unknown pass option',
    () => compressBy(recipe('r3', [[{ pass: 'quantize/rtn', options: { bit: 8 } }]])),
    1,
    'ERR_RECIPE',
    /\/stages\/0\/0\/options\/bit: unknown key "bit"; did you mean "bits"\?/,
  ],
  [
    'sparsity 1.5',
    () => compressBy(recipe('r4', [[{ pass: 'prune/magnitude', options: { sparsity: 1.5 } }]])),
    1,
    'ERR_RECIPE',
    /\/options\/sparsity.*1\.5/,
  ],
  ['bits 9', () => compressBy(recipe('r5', [[{ pass: 'quantize/rtn', options: { bits: 9 } }]])), 1, 'ERR_RECIPE', /\/options\/bits.*9/],
  [
    'a target that fits nothing',
    () => compressBy(recipe('r6', [[{ pass: 'quantize/rtn', targets: ['fc9.weight'] }]])),
    1,
    'ERR_RECIPE',
    /"fc9\.weight" fits no weight of mlp; did you mean "fc1\.weight"\?/,
  ],
  [
    'another version of a pass',
    () => compressBy(recipe('r7', [[{ pass: 'quantize/rtn', version: 99 }]])),
    1,
    'ERR_RECIPE',
    /version 1 here, the recipe asks for 99/,
  ],
  [
    'an unknown preset',
    () => compressBy('int8-statik'),
    2,
    'ERR_OPTION',
    /no preset and no file is named "int8-statik"; did you mean "int8-static"\?; presets: /,
  ],
  [
    'a preset that needs snapshots which are not there',
    () => compressBy('prune-weight-rewind-int8', '--data', flowers),
    2,
    'ERR_OPTION',
    /needs the snapshot of epoch \d/,
  ],
]

describe.concurrent('the table', () => {
  it.each(table)('%s', async (_, args, exit, code, message) => {
    const { code: got, stdout, stderr } = await tersor([...args(), '--json'])
    expect(got, stderr).toBe(exit)
    const { error } = JSON.parse(stdout) as { error: { code: string; message: string } }
    expect(error.code).toMatch(new RegExp(`^${code}`))
    expect(error.message).toMatch(message)
    expect(stderr).toBe(`error ${error.code}: ${error.message}\n`)
    expect(filesIn(dir).filter((name) => name.startsWith('out'))).toEqual([])
  })
})

it('inspect counts NaN in a model that it is asked about', async () => {
  const { stdout } = await succeeds(['inspect', at('nan.safetensors'), '--json'])
  expect(JSON.parse(stdout)).toMatchObject({ total: { nonFinite: 1 } })
})

describe.concurrent('a full disk', () => {
  const expectFull = (run: { code: number | null; stderr: string }, errno: string): void => {
    expect({ code: run.code, stderr: run.stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(new RegExp(`error ERR_IO: .*${errno}`)),
    })
  }
  it.each([
    ['train', () => ['train', 'mlp', '--data', flowers, '--epochs', '1']],
    ['compress', () => ['compress', model, '--recipe', 'int8-weights']],
  ])('%s, the file may not grow (RLIMIT_FSIZE)', async (name, args) => {
    const folder = at(`limit-${name}`)
    fs.mkdirSync(folder)
    const out = path.join(folder, 'x')
    fs.writeFileSync(out, 'old')
    expectFull(await tersor([...args(), '--out', out], { shell: 'ulimit -f 8; exec "$@"' }), 'EFBIG')
    expect(fs.readFileSync(out, 'utf8')).toBe('old')
    // A checkpoint may be there, a half file not.
    expect(filesIn(folder).filter((f) => f !== 'x' && f !== 'x.checkpoint')).toEqual([])
    if (name === 'compress') {
      await succeeds([...args(), '--out', out, '--resume'])
      await succeeds([...args(), '--out', at('undisturbed')])
      expect(fs.readFileSync(out).equals(fs.readFileSync(at('undisturbed')))).toBe(true)
      fs.rmSync(at('undisturbed'))
    }
  })

  // A file system of 64 KiB in a mount namespace of its own, which goes with the process.
  const inNamespace = 'unshare --mount --map-root-user'
  const permitted = spawnSync('bash', ['-c', `${inNamespace} mount -t tmpfs none ${dir}`]).status === 0
  it.skipIf(!permitted)('the file system is full (ENOSPC)', async () => {
    const mount = at('small')
    fs.mkdirSync(mount)
    const script = `mount -t tmpfs -o size=64k none ${mount} && echo old > ${mount}/x && "$@"; code=$?; cat ${mount}/x >&2; ls -A ${mount} >&2; exit $code`
    const run = await tersor(['train', 'mlp', '--data', flowers, '--epochs', '1', '--out', path.join(mount, 'x')], {
      shell: `exec ${inNamespace} bash -c '${script}' bash "$@"`,
    })
    expectFull(run, 'ENOSPC')
    // The folder of checkpoints may be there, a half file not.
    expect(run.stderr).toMatch(/\nold\nx\n(x\.checkpoint\n)?$/)
  })
})
