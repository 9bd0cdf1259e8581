/** The emulated CUDA library (TERSOR_CUDA_EMULATE=ON) for tests: one device on this processor. It stays loaded in the process that asked for it. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { device, type Device } from '../../ts/index.js'
import { root } from '../../tools/problems.js'

export const emulatedFile = join(root, 'build/Release/tersor_cuda_emulated.so')
export const hasEmulated = existsSync(emulatedFile)

/** Its first device; the environment is as before. */
export function emulatedDevice(): Device {
  const before = process.env.TERSOR_CUDA_PATH
  process.env.TERSOR_CUDA_PATH = emulatedFile
  try {
    return device('cuda')
  } finally {
    if (before === undefined) delete process.env.TERSOR_CUDA_PATH
    else process.env.TERSOR_CUDA_PATH = before
  }
}

/** An error of this code whose message has the text. */
export function code(name: string, text = ''): unknown {
  return expect.objectContaining({ code: name, message: expect.stringContaining(text) as string })
}
