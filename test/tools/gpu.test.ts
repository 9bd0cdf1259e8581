/** tools/gpu.sh with stand-ins for the GPU, the compilers and the test runner: order, limits, what is kept when a part fails, and the form of its report. */
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { root } from '../../tools/problems.js'

const stepSchema = z.strictObject({ result: z.enum(['passed', 'failed', 'timeout', 'late']), seconds: z.number().int() })
const summarySchema = z.strictObject({
  device: z.string(),
  driver: z.string(),
  sm: z.number().int(),
  clock: z.string(),
  top_clock: z.string(),
  clock_under_load: z.string(),
  memory_clock: z.string(),
  memory: z.string(),
  nvcc: z.string(),
  paths: z.string(),
  seconds: z.number().int(),
  steps: z.partialRecord(z.enum(['configure', 'build', 'smoke', 'wgmma', 'tests', 'native', 'memcheck', 'racecheck', 'bench']), stepSchema),
  tests: z.strictObject({ listed: z.number(), passed: z.number(), skipped: z.number(), failed: z.array(z.string()) }),
})
type Summary = z.infer<typeof summarySchema>

const bench = join(root, 'build/Release/tersor_cuda_bench_emulated')
describe.skipIf(!existsSync(bench))('tersor_cuda_bench (emulated)', () => {
  const library = join(root, 'build/Release/tersor_cuda_emulated.so')
  const run = (...args: string[]) => spawnSync(bench, args, { encoding: 'utf8', env: { ...process.env, TERSOR_CUDA_EMULATE_DEVICES: '1' } })

  it('measures what it can, and names what its time left out', () => {
    const folder = mkdtempSync(join(tmpdir(), 'tersor-bench-'))
    try {
      const json = join(folder, 'native.json')
      const report = (
        ...more: string[]
      ): { complete: boolean; left_out: string[]; cases: { name: string; ms: number; rival_ms?: number }[] } => {
        const { status, stderr } = run('--library', library, '--quick', '--json', json, ...more)
        expect([status, stderr]).toEqual([0, ''])
        return JSON.parse(readFileSync(json, 'utf8')) as ReturnType<typeof report>
      }
      const { complete, left_out, cases } = report('--filter', '32x40x64')
      expect([complete, left_out, cases.map(({ name }) => name)]).toEqual([
        true,
        [],
        ['f32', 'f16', 'bf16'].map((t) => `matmul ${t} 32x40x64`).concat('int8 32x40x64'),
      ])
      expect(cases.every(({ ms, rival_ms }) => ms > 0 && rival_ms === undefined)).toBe(true) // no rival on this device
      expect(report('--filter', 'sum', '--seconds', '0')).toMatchObject({ complete: false, left_out: ['sum of rows'], cases: [] })
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('refuses what is no device library, and options that it does not have', () => {
    expect(run('--library', bench)).toMatchObject({ status: 2, stderr: expect.stringContaining('tersor_cuda_bench: ') as string })
    expect(run('--library', library, '--fast', '1')).toMatchObject({ status: 2, stderr: 'tersor_cuda_bench: no option --fast\n' })
    expect(run()).toMatchObject({ status: 2, stderr: 'tersor_cuda_bench: --library names the CUDA library\n' })
  })
})

describe.skipIf(process.platform !== 'linux')('tools/gpu.sh', () => {
  let folder: string
  beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'tersor-gpu-'))))
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  const program = (name: string, text: string): void => {
    mkdirSync(join(folder, 'bin'), { recursive: true })
    writeFileSync(join(folder, 'bin', name), `#!/usr/bin/env bash\n${text}\n`)
    chmodSync(join(folder, 'bin', name), 0o755)
  }

  /** A machine with a GPU whose runner has three tests: one passes, one is skipped, `third` is the shell text of the other. */
  const machine = (third: string): void => {
    program('nvidia-smi', 'echo "NVIDIA Test, 580.1, 9.0, 345 MHz, 1980 MHz, 3201 MHz, 143771 MiB"')
    program('nvcc', 'echo "Cuda compilation tools, release 13.0, V13.0.88"')
    program(
      'cmake',
      `echo "$@" >>${folder}/cmake; cd ${folder}; mkdir -p build/Release; touch build/Release/tersor_cuda.so; cp runner build/Release/tersor_cuda_bench
      if [ ! -e no-runner ]; then cp runner build/Release/tersor_cuda_test; else case "$*" in *tersor_cuda_test*) exit 1 ;; esac; fi`,
    )
    program('compute-sanitizer', `echo "$2" >>${folder}/sanitized`)
    program('python3', `case "$*" in *--json*) echo '{ "cases": [1] }' >"\${@: -1}"; exit 1 ;; esac`)
    const runner = `#!/usr/bin/env bash
      echo "$* \${TERSOR_CUDA_PATHS:-}" >>${folder}/runs
      case "$1 $2" in
        --list*) printf 'one\\ntwo\\nthree\\n' ;;
        "--part 0/3") echo "1 passed, 0 failed" ;;
        "--part 1/3") echo "0 passed, 0 failed, 1 skipped" ;;
        "--part 2/3") ${third} ;;
        "--filter wgmma_serves") exit \${WGMMA:-0} ;;
        --library*) echo '{ "cases": [2] }' >"$4"; exit \${NATIVE:-0} ;;
        "--filter copies") exit \${SMOKE:-0} ;;
      esac`
    writeFileSync(join(folder, 'runner'), runner, { mode: 0o755 })
  }

  const run = (env: Record<string, string> = {}): Promise<{ code: number | null; text: string; summary: Summary | undefined }> =>
    new Promise((resolve) => {
      const out = join(folder, 'out')
      const own = { PATH: `${join(folder, 'bin')}:${process.env.PATH}`, TERSOR_GPU_BUILD: join(folder, 'build') }
      const child = spawn('bash', [join(root, 'tools/gpu.sh'), out], { env: { ...process.env, ...own, ...env } })
      let text = ''
      child.stdout.on('data', (chunk) => (text += String(chunk)))
      child.stderr.on('data', (chunk) => (text += String(chunk)))
      child.on('close', (code) => {
        const file = join(out, 'summary.json')
        resolve({ code, text, summary: existsSync(file) ? summarySchema.parse(JSON.parse(readFileSync(file, 'utf8'))) : undefined })
      })
    })
  const lines = (name: string): string[] => readFileSync(join(folder, name), 'utf8').trimEnd().split('\n')

  it('goes from the cheapest proof to the longest step, for the GPU that is there, and says what it ran on', async () => {
    machine('echo "1 passed, 0 failed"')
    program('python3', `case "$*" in *--json*) echo '{ "cases": [1] }' >"\${@: -1}" ;; esac`)
    const { code, summary } = await run()
    expect(code).toBe(0)
    expect(summary).toMatchObject({
      device: 'NVIDIA Test',
      driver: '580.1',
      sm: 90,
      clock: '345 MHz',
      top_clock: '1980 MHz',
      nvcc: '13.0',
      paths: '',
    })
    expect(Object.keys(summary!.steps)).toEqual([
      'configure',
      'build',
      'smoke',
      'wgmma',
      'tests',
      'native',
      'memcheck',
      'racecheck',
      'bench',
    ])
    expect(Object.values(summary!.steps).every((step) => step.result === 'passed')).toBe(true)
    expect(summary!.tests).toEqual({ listed: 3, passed: 2, skipped: 1, failed: [] })
    expect(lines('cmake')[0]).toContain('-DTERSOR_CUDA_ARCHITECTURES=90a-real')
    expect(lines('runs')[0]).toMatch(/^--filter copies/)
    expect(readdirSync(join(folder, 'out')).length).toBeLessThanOrEqual(8) // as many as come back from a machine that is lent
    expect(lines('sanitized')).toEqual(['memcheck', 'racecheck'])
  })

  it('keeps what is known when tests, the wgmma path and the bench fail', async () => {
    machine('echo broken; exit 1')
    const { code, summary } = await run({ WGMMA: '1', NATIVE: '1' })
    expect(code).toBe(1)
    expect(summary).toMatchObject({ paths: 'mma', tests: { passed: 1, failed: ['three'] } })
    expect(summary!.steps).toMatchObject({
      wgmma: { result: 'failed' },
      tests: { result: 'failed' },
      native: { result: 'failed' },
      memcheck: { result: 'passed' },
      bench: { result: 'failed' },
    })
    expect(
      lines('runs')
        .filter((line) => line.startsWith('--part'))
        .every((line) => line.endsWith(' mma')),
    ).toBe(true)
    expect(JSON.parse(readFileSync(join(folder, 'out/bench.json'), 'utf8'))).toEqual({ cases: [1] })
    expect(JSON.parse(readFileSync(join(folder, 'out/native.json'), 'utf8'))).toEqual({ cases: [2] })
    expect(readFileSync(join(folder, 'out/tests.log'), 'utf8')).toContain('broken')
  })

  it('asks nothing more of a device that fails the smoke test', async () => {
    machine('echo "1 passed, 0 failed"')
    const { code, summary } = await run({ SMOKE: '1' })
    expect(code).toBe(1)
    expect(Object.keys(summary!.steps)).toEqual(['configure', 'build', 'smoke'])
  })

  it('measures a library whose tests did not compile', async () => {
    machine('exit 1')
    writeFileSync(join(folder, 'no-runner'), '')
    const { code, summary } = await run()
    expect(code).toBe(1)
    expect(Object.keys(summary!.steps)).toEqual(['configure', 'build', 'native', 'bench'])
    expect(summary!.steps).toMatchObject({ build: { result: 'failed' }, native: { result: 'passed' } })
    expect(summary!.tests).toMatchObject({ listed: 0 })
  })

  it('ends in its time: a test that hangs is stopped, later steps are late', async () => {
    machine('sleep 60')
    const begin = Date.now()
    const { code, summary } = await run({ TERSOR_GPU_SECONDS: '7' })
    expect(code).toBe(1)
    expect(Date.now() - begin).toBeLessThan(30_000)
    expect(summary!.tests).toMatchObject({ passed: 1, failed: ['three'] })
    expect(summary!.steps).toMatchObject({
      tests: { result: 'failed' },
      native: { result: 'late' },
      memcheck: { result: 'late' },
      bench: { result: 'late' },
    })
  })

  it('says that there is no GPU and ends with 3', async () => {
    program('nvidia-smi', 'exit 9')
    program('cmake', 'exit 0')
    const { code, text, summary } = await run()
    expect([code, summary]).toEqual([3, undefined])
    expect(text).toContain('nvidia-smi finds no GPU: nothing was run')
  })
})
