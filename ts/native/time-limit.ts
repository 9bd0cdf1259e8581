/** A limit of time for synchronous work that cannot be asked to stop: regular expressions of a file. */
import vm from 'node:vm'
import { LimitError } from '../base/errors.js'

/** Gives what `work` gives; ERR_LIMIT with `message` when it takes more than `ms` milliseconds: the engine then ends it where it stands. */
export function withTimeLimit<T>(ms: number, work: () => T, message: () => string): T {
  try {
    return vm.runInNewContext('work()', { work }, { timeout: ms }) as T
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error
    throw new LimitError('ERR_LIMIT', message())
  }
}
