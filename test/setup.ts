/** Around every test file: what the files before it left as garbage is gone (files share a process, and memory is counted), helpers clean up after it. */
import { afterAll, afterEach } from 'vitest'
import { cleanUp } from './clean-up.js'

globalThis.gc?.()
await new Promise(setImmediate) // finalizers give their tensors back

afterEach(() => cleanUp('test'))
afterAll(() => cleanUp('file'))
