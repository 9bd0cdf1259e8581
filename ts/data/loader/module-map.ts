/** A map of the user's own, from its module. */
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { OptionError } from '../../base/errors.js'
import type { ModuleMap, SampleMap } from './contract.js'
import { importModule } from './worker-file.cjs'

/** ERR_OPTION when the module cannot be loaded or has no such function. */
export async function loadMap({ module, name = 'default' }: ModuleMap): Promise<SampleMap> {
  if (!path.isAbsolute(module))
    throw new OptionError('ERR_OPTION', `loader: map: the module must be an absolute path, got ${JSON.stringify(module)}`)
  let exported: unknown
  try {
    const found = await importModule(pathToFileURL(module).href)
    exported = found[name]
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new OptionError('ERR_OPTION', `loader: map: '${module}' cannot be loaded: ${why}`, { cause, details: { module } })
  }
  if (typeof exported !== 'function')
    throw new OptionError('ERR_OPTION', `loader: map: '${module}' has no function ${JSON.stringify(name)}`, { details: { module, name } })
  return exported as SampleMap
}
