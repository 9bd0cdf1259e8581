/** Devices without one: names, what is tried, libraries that are refused and why. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { addon } from '../../ts/native/call.js'
import { deviceFiles } from '../../ts/native/load.cjs'
import { cpu, defaultDevice, device, deviceProblem, devices, memory, onDevice, setDefaultDevice, tensor } from '../../ts/index.js'

const folder = mkdtempSync(join(tmpdir(), 'tersor-device-'))
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

const compiler = ['cc', 'gcc', 'clang'].find((name) => {
  try {
    execFileSync(name, ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})

/** A library of C; its path. */
function library(name: string, code: string): string {
  const file = join(folder, `${name}.so`)
  writeFileSync(join(folder, `${name}.c`), code)
  execFileSync(compiler!, ['-shared', '-fPIC', '-o', file, join(folder, `${name}.c`)])
  return file
}

const table = (abi: number, bytes: number, hash: string): string => `
#include <stdint.h>
static const struct { uint32_t abi, bytes; uint64_t hash; const char *name, *build; void* functions[18]; } table = {${abi}, ${bytes}, ${hash}, "cuda", "test"};
const void* tersor_backend(void) { return &table; }`

describe('a device library that cannot be used', () => {
  const load = (...files: string[]): string => addon().deviceLoad('test', files)

  it('is refused with the reason of each file', () => {
    const text = join(folder, 'text.so')
    writeFileSync(text, 'no library')
    const why = load(join(folder, 'missing.so'), text)
    expect(why.split('\n')).toHaveLength(2)
    expect(why).toMatch(/missing\.so: it does not load: .*No such file|cannot open/)
    expect(why).toMatch(/text\.so: it does not load/)
  })

  it.skipIf(!compiler || process.platform === 'win32')('is refused when it was made for another core', () => {
    const BYTES = 16 + 8 * 20
    expect(load(library('other', 'int tersor_something(void) { return 1; }'))).toMatch(/no device library of Tersor \(no tersor_backend\)/)
    expect(load(library('null', 'const void* tersor_backend(void) { return 0; }'))).toMatch(/it gives no table/)
    expect(load(library('abi', table(2, BYTES, '1')))).toMatch(/it speaks version 2 of the interface, this build 1/)
    expect(load(library('bytes', table(1, 40, '1')))).toMatch(/its table of functions has 40 bytes, expected \d+/)
    const bytes = Number(/expected (\d+)/.exec(load(library('size', table(1, 1, '1'))))![1])
    expect(load(library('hash', table(1, bytes, '1')))).toMatch(/built from another table of ops: rebuild it/)
  })
})

describe('device', () => {
  it('is the processor by default', () => {
    expect(device('cpu')).toBe(cpu)
    expect(defaultDevice()).toBe(cpu)
    expect([cpu.name, cpu.kind, cpu.index, cpu.info(), cpu.fallback]).toEqual(['cpu', 'cpu', 0, null, false])
    expect(cpu.memory().bytes).toBe(memory().bytes)
    cpu.synchronize()
    const t = onDevice('cpu', () => tensor([1, 2]))
    expect(t.device).toBe(cpu)
    const same = t.to('cpu')
    same.write(new Float32Array([3, 4]))
    expect(t.toArray()).toEqual([3, 4])
    t.dispose()
    expect(same.toArray()).toEqual([3, 4])
    same.dispose()
  })

  it('names what it takes', () => {
    for (const wrong of ['', 'gpu', 'cuda:', 'cuda:-1', 'cuda:1e9', 'CPU', 'cuda:0 '])
      expect(() => device(wrong as 'cpu')).toThrow(expect.objectContaining({ code: 'ERR_OPTION', message: expect.stringContaining("must be 'cpu', 'cuda'") as string }))
  })

  it('takes no promise', () => {
    expect(() => onDevice('cpu', () => Promise.resolve(1))).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }))
    expect(setDefaultDevice('cpu')).toBe(cpu)
  })
})

describe('without a library', () => {
  const withPath = <T>(path: string, fn: () => T): T => {
    const before = process.env.TERSOR_CUDA_PATH
    process.env.TERSOR_CUDA_PATH = path
    try {
      return fn()
    } finally {
      if (before === undefined) delete process.env.TERSOR_CUDA_PATH
      else process.env.TERSOR_CUDA_PATH = before
    }
  }

  it('looks in one place when it is told where', () => {
    const missing = join(folder, 'nothing.so')
    expect(withPath(missing, () => deviceFiles('cuda'))).toEqual({ files: [], tried: [missing], own: true })
  })

  // Where another file of this process has loaded one, it stays.
  it.skipIf(addon().deviceCount('cuda') > 0)('says what was tried, and computes on the processor', () => {
    const missing = join(folder, 'nothing.so')
    withPath(missing, () => {
      expect(deviceProblem()).toContain('TERSOR_CUDA_PATH')
      expect(devices()).toEqual([cpu])
      expect(device('auto')).toBe(cpu)
      expect(() => device('cuda')).toThrow(expect.objectContaining({ code: 'ERR_DEVICE', message: expect.stringContaining(missing) as string }))
    })
  })
})
