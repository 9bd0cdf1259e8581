/**
 * A file imports from its own folder and from strictly lower floors (ARCHITECTURE.md section 3, which is read, not copied). Also checked:
 * the header rules, `node:*` only where the page says, and that no compression pass imports another.
 */
import { isBuiltin } from 'node:module'
import { basename, dirname, join } from 'node:path/posix'
import ts from 'typescript'
import { readFloors, type Floors } from './floor-rules.js'
import { filesBelow, readText, root, runAsCheck } from './problems.js'

interface Source {
  readonly file: string
  readonly text: string
  readonly imports: readonly string[]
}

export function checkFloors(base: string): string[] {
  const floors = readFloors(readText(base, 'ARCHITECTURE.md'))
  const isaNames = [...readText(base, 'native/cpu/isa.def').matchAll(/^TERSOR_ISA_LEVEL\((\w+)/gm)].map((match) => match[1] ?? '')
  return [...checkTypeScript(base, floors), ...checkCpp(base, floors, isaNames)]
}

function checkTypeScript(base: string, floors: Floors): string[] {
  const problems: string[] = []
  const entries = publicEntries(base)
  const sources = new Map<string, Source>()
  for (const file of filesBelow(base, 'ts').filter((name) => /\.[cm]?[jt]s$/.test(name))) {
    const text = readText(base, file)
    sources.set(file, { file, text, imports: ts.preProcessFile(text, true, true).importedFiles.map((one) => one.fileName) })
  }
  for (const { file, imports } of sources.values()) {
    const folder = file.split('/')[1] ?? ''
    const isEntry = !floors.ts.has(folder) && entries.has(file)
    if (!isEntry && !floors.ts.has(folder))
      problems.push(`${file}: no floor: ts/${folder} is not in the table of ARCHITECTURE.md section 3`)
    for (const name of imports) {
      if (isBuiltin(name) && !floors.nodeFolders.includes(folder)) {
        problems.push(`${file}: imports ${name}; Node's modules only in ts/{${floors.nodeFolders.join(',')}}`)
      }
      if (!name.startsWith('.') || isEntry) continue
      const target = join(dirname(file), name)
      const targetFolder = target.split('/')[1] ?? ''
      if (!target.startsWith('ts/')) problems.push(`${file}: imports ${name}, outside ts/`)
      else if (targetFolder !== folder) problems.push(...compare(file, folder, name, targetFolder, floors.ts))
    }
  }
  return [...problems, ...checkPasses(sources)]
}

/** The files behind package.json's exports: those outside a floor's folder (ts/index.ts) stand above all floors. */
function publicEntries(base: string): Set<string> {
  const manifest = JSON.parse(readText(base, 'package.json')) as { exports: Record<string, { import?: { default: string } } | string> }
  const targets = Object.values(manifest.exports).map((entry) => (typeof entry === 'string' ? '' : (entry.import?.default ?? '')))
  return new Set(targets.map((target) => target.replace('./dist/esm/', 'ts/').replace(/\.js$/, '.ts')))
}

function compare(file: string, from: string, name: string, to: string, floor: ReadonlyMap<string, number>): string[] {
  const own = floor.get(from)
  const other = floor.get(to)
  if (own === undefined) return [] // reported as "no floor"
  if (other === undefined) return [`${file}: imports ${name}, which has no floor`]
  return other < own ? [] : [`${file}: floor ${own} (${from}) imports ${name}, floor ${other} (${to})`]
}

/** A pass file defines a pass. It reaches no other pass file, neither directly nor through a barrel that re-exports one. */
function checkPasses(sources: ReadonlyMap<string, Source>): string[] {
  const isPass = (source: Source): boolean => source.file.startsWith('ts/compress/') && /\bdefinePass(<[^(]*>)?\(\s*\{/.test(source.text)
  const passesBehind = (file: string, seen: Set<string>): string[] => {
    const source = sources.get(file)
    if (!source || seen.has(file)) return []
    seen.add(file)
    if (isPass(source)) return [file]
    const exported = [...source.text.matchAll(/^export\s[^'"]*?from\s+['"]([^'"]+)['"]/gm)].map((match) => match[1] ?? '')
    return exported.flatMap((name) => passesBehind(resolveTs(file, name), seen))
  }
  const problems: string[] = []
  for (const source of [...sources.values()].filter(isPass)) {
    for (const name of source.imports.filter((one) => one.startsWith('.'))) {
      const reached = passesBehind(resolveTs(source.file, name), new Set())[0]
      if (reached && reached !== source.file) problems.push(`${source.file}: a pass imports another pass (${reached})`)
    }
  }
  return problems
}

const resolveTs = (file: string, name: string): string => join(dirname(file), name).replace(/\.js$/, '.ts')

function checkCpp(base: string, floors: Floors, isaNames: readonly string[]): string[] {
  const problems: string[] = []
  const files = filesBelow(base, 'native').filter((name) => /\.(cc|h|inc|def|cu|cuh)$/.test(name))
  for (const file of files) {
    const folder = file.split('/')[1] ?? ''
    const plugin = floors.plugins.get(folder)
    if (!plugin && !floors.native.has(folder)) {
      problems.push(`${file}: no floor: native/${folder} is not in the table of ARCHITECTURE.md section 3`)
      continue
    }
    const isIsaFile = isaNames.some((isa) => new RegExp(`(^|_)${isa}\\.(cc|h)$`).test(basename(file)))
    for (const [, quote, name = ''] of readText(base, file).matchAll(/^\s*#\s*include\s*([<"])([^>"]+)[>"]/gm)) {
      const rule = floors.headers.get(name)
      if (rule && !rule.folders.includes(folder) && !(rule.isaFiles && isIsaFile)) {
        problems.push(`${file}: includes ${name}, allowed only in ${rule.folders.join(', ')}${rule.isaFiles ? ' and ISA files' : ''}`)
      }
      if (quote === '<' || rule) continue
      if (!name.includes('/')) problems.push(`${file}: includes "${name}"; write the path from native/`)
      else if (plugin) {
        const allowed = plugin.some((place) => name === place || name.startsWith(`${place}/`)) || name.startsWith(`${folder}/`)
        if (!allowed) problems.push(`${file}: plug-in ${folder} includes ${name}; it may include ${plugin.join(', ')} only`)
      } else if (name.split('/')[0] !== folder) problems.push(...compare(file, folder, name, name.split('/')[0] ?? '', floors.native))
    }
  }
  return problems
}

runAsCheck(import.meta.url, () => checkFloors(root))
