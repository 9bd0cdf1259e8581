/**
 * Files that a model names (shards, external data) must lie beneath the model's own folder: no absolute path, no `..`, no
 * symbolic or hard link, only regular files. A model can then read nothing but itself.
 */
import path from 'node:path'
import { PathSecurityError, isTersorError } from '../base/errors.js'
import { openSource, type ByteSource } from './files.js'
import { nodeIo } from './io.js'
import type { ReadOptions } from './limits.js'

export interface BeneathOptions extends ReadOptions {
  /** `'allow'` accepts symbolic and hard links, as package stores and model caches use them; default `'reject'`. */
  readonly links?: 'reject' | 'allow'
}

function refuse(where: string, name: string, rule: string): never {
  throw new PathSecurityError('ERR_PATH', `${where}: file name ${JSON.stringify(name.slice(0, 200))} ${rule}`, { details: { name } })
}

/** Checks a name found in a file and gives its parts. Both kinds of slashes separate, on every system. */
export function checkRelativeName(where: string, name: string): string[] {
  if (name === '') refuse(where, name, 'must not be empty')
  if (name.length > 1024) refuse(where, name, 'must have at most 1024 characters')
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u001f]/.test(name)) refuse(where, name, 'must not contain control characters')
  if (/^[\\/]/.test(name) || name.includes(':')) refuse(where, name, 'must be relative to the model')
  const parts = name.split(/[\\/]/)
  for (const part of parts) {
    if (part === '..') refuse(where, name, 'must stay beneath the model')
    if (part === '' || part === '.') refuse(where, name, 'must not have empty parts')
  }
  return parts
}

/** Opens `name` beneath the folder `root`. */
export function openBeneath(where: string, root: string, name: string, options: BeneathOptions = {}): ByteSource {
  const io = options.io ?? nodeIo
  const parts = checkRelativeName(where, name)
  const strict = options.links !== 'allow'
  let at = root
  for (const part of strict ? parts : []) {
    at = path.join(at, part)
    let link: boolean
    try {
      link = io.lstat(at).isSymbolicLink()
    } catch {
      break // the open below reports it
    }
    if (link) refuse(where, name, "must not go through a symbolic link (allow with links: 'allow')")
  }
  try {
    return openSource(path.join(root, ...parts), { ...options, noFollow: strict, singleName: strict })
  } catch (error) {
    const errno = isTersorError(error) ? error.details.errno : undefined
    if (errno === 'EMLINK' || errno === 'ELOOP') refuse(where, name, "must not be a link to another file (allow with links: 'allow')")
    if (errno === 'EINVAL' || errno === 'EISDIR') refuse(where, name, 'must be a regular file')
    throw error
  }
}
