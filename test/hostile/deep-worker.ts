/** Runs in a worker with a small stack (child.ts): texts of 200,000 levels, and the deepest that is allowed. */
import { parentPort } from 'node:worker_threads'
import { isTersorError } from '../../ts/base/errors.js'
import { parseJson } from '../../ts/base/json.js'
import { parseSafetensors } from '../../ts/formats/safetensors.js'
import { safetensorsFile } from './build.js'

const codeOf = (run: () => unknown): string => {
  try {
    run()
    return 'ok'
  } catch (error) {
    return isTersorError(error) ? error.code : `untyped: ${String(error)}`
  }
}
const deep = (open: string): string => codeOf(() => parseJson(open.repeat(200_000)))
const legal = (n: number): string => codeOf(() => parseJson(`${'['.repeat(n)}${']'.repeat(n)}`))

parentPort!.postMessage({
  arrays: deep('['),
  objects: deep('{"a":'),
  mixed: deep('[{"a":'),
  header: codeOf(() => parseSafetensors(safetensorsFile('{"a":'.repeat(200_000)))),
  depth64: legal(64),
  depth65: legal(65),
})
