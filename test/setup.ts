/** Around every test file: what the files before it left as garbage is gone (files share a process, and memory is counted), helpers clean up after it. */
import { afterAll, afterEach } from 'vitest'
import { cleanUp, collected } from './clean-up.js'

await collected()

afterEach(() => cleanUp('test'))
afterAll(() => cleanUp('file'))
