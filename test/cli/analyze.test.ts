/** `tersor analyze hessian`: tables, JSON, the plot, wrong input. */
import fs from 'node:fs'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { json, succeeds, tempDir, tersor, writeFlowers } from './lib.js'

const dir = tempDir()
const model = path.join(dir, 'model.safetensors')
const flowers = writeFlowers(path.join(dir, 'flowers.csv'), 60)
const analyze = ['analyze', 'hessian', model, '--data', flowers]

beforeAll(async () => {
  await succeeds(['train', 'mlp', '--data', flowers, '--out', model, '--epochs', '2'])
}, 60_000)

interface Result {
  readonly examples: number
  readonly hessian: readonly {
    readonly of: string
    readonly eigenvalues?: readonly { readonly value: number }[]
    readonly trace?: { readonly value: number }
    readonly density?: { readonly nodes: readonly { readonly weights: readonly number[] }[] }
    readonly diagonal?: { readonly samples: number }
  }[]
}

describe('tersor analyze hessian', () => {
  it('gives the same figures by Lanczos and by power iteration', async () => {
    const fast = await json<Result>([...analyze, '--what', 'eigenvalues,trace'])
    const slow = await json<Result>([...analyze, '--what', 'eigenvalues', '--method', 'power', '--tolerance', '1e-5'])
    const [a, b] = [fast.hessian[0]!.eigenvalues![0]!.value, slow.hessian[0]!.eigenvalues![0]!.value]
    expect(Math.abs(a - b)).toBeLessThan(2e-3 * Math.abs(b))
    expect(fast.hessian[0]!.trace!.value).toBeGreaterThan(0)
  }, 120_000)

  it('treats layers by themselves, on a part of the data', async () => {
    const args = ['--what', 'eigenvalues,diagonal', '--per-layer', '--examples', '20', '--iterations', '10']
    const found = await json<Result>([...analyze, ...args])
    expect(found.examples).toBe(20)
    expect(found.hessian.map((f) => f.of)).toEqual(['fc1', 'fc2', 'fc3'])
    for (const f of found.hessian) expect(f.diagonal!.samples).toBeGreaterThan(1)
  }, 120_000)

  it('draws the density', async () => {
    const svg = path.join(dir, 'density.svg')
    const { stdout } = await succeeds([...analyze, '--what', 'density', '--iterations', '20', '--plot', svg])
    expect(stdout).toContain('wrote')
    expect(fs.readFileSync(svg, 'utf8')).toMatch(/^<svg [^]*eigenvalue[^]*<\/svg>\n$/)
  }, 60_000)

  it('refuses what it does not know', async () => {
    for (const args of [
      ['--what', 'luck'],
      ['--method', 'guess'],
      ['--layers', 'fc9'],
      ['--top', '0'],
      ['--tolerance', 'x'],
      ['--plot', path.join(dir, 'd.svg'), '--per-layer'],
      ['--plot', path.join(dir, 'nowhere', 'd.svg')],
    ]) {
      const { code, stderr } = await tersor([...analyze, ...args])
      expect(code, args.join(' ')).toBe(2)
      expect(stderr).not.toMatch(/\n\s+at /)
    }
  }, 60_000)
})
