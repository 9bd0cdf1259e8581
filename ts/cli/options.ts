/** Readers for numbers and paths on the command line: a wrong one is a usage error that says what is allowed, before any work is done. */
import { statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { InvalidArgumentError, type Command } from 'commander'

export function integer(min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const v = Number(text)
    if (text.trim() === '' || !Number.isInteger(v) || v < min || v > max)
      throw new InvalidArgumentError(`must be an integer in [${min}, ${max}].`)
    return v
  }
}

export function real(min: number, max: number): (text: string) => number {
  return (text) => {
    const v = Number(text)
    if (text.trim() === '' || !Number.isFinite(v) || v < min || v > max)
      throw new InvalidArgumentError(`must be a number in [${min}, ${max}].`)
    return v
  }
}

export function list(read: (text: string) => number): (text: string) => number[] {
  return (text) => text.split(',').map(read)
}

/** NAME=N, which may be given several times. */
export function openSize(text: string, before: Readonly<Record<string, number>> = {}): Readonly<Record<string, number>> {
  const found = /^(.+)=(\d+)$/.exec(text)
  if (!found) throw new InvalidArgumentError('must be NAME=N, as height=224.')
  return { ...before, [found[1]!]: Number(found[2]) }
}

const isFolder = (at: string): boolean => statSync(at, { throwIfNoEntry: false })?.isDirectory() ?? false

/** A file or folder to write: the folder that it goes into is there. */
export function outPath(path: string): string {
  const folder = dirname(resolve(path))
  if (!isFolder(folder)) throw new InvalidArgumentError(`there is no folder ${JSON.stringify(folder)}.`)
  return path
}

/** A file to write: its folder is there. */
export function outFile(path: string): string {
  if (isFolder(outPath(path))) throw new InvalidArgumentError(FOLDER)
  return path
}
const FOLDER = 'is a folder, a file is wanted.'

/** For a command whose other options decide whether a folder is wanted: the usage error that `outFile` is, for an option with these flags. */
export function refuseFolder(command: Command, flags: string, path: string): void {
  if (isFolder(path))
    command.error(`error: option '${flags}' argument '${path}' is invalid. ${FOLDER}`, { code: 'commander.invalidArgument' })
}
