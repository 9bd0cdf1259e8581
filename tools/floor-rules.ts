/** Reads the floors table and the rules below it out of ARCHITECTURE.md (section 3): the page is the list, this file only its reader. */

export interface Floors {
  /** Folder of ts/ -> floor. */
  readonly ts: ReadonlyMap<string, number>
  /** Folder of native/ -> floor. */
  readonly native: ReadonlyMap<string, number>
  /** Plug-in folder of native/ -> what it may include: folders, or single headers. */
  readonly plugins: ReadonlyMap<string, readonly string[]>
  /** System header -> where it may stand. */
  readonly headers: ReadonlyMap<string, { readonly folders: readonly string[]; readonly isaFiles: boolean }>
  /** Folders of ts/ that may import Node's own modules. */
  readonly nodeFolders: readonly string[]
}

const ticked = (text: string): string[] => [...text.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '')
const names = (cell: string): string[] =>
  cell
    .split(',')
    .map((name) => name.trim())
    .filter(Boolean)

export function readFloors(page: string): Floors {
  const start = page.search(/^## \d+\. Floors/m)
  if (start < 0) throw new Error('check-floors: ARCHITECTURE.md has no section "Floors"')
  const end = page.indexOf('\n## ', start + 1)
  const section = page.slice(start, end < 0 ? undefined : end)
  const ts = new Map<string, number>()
  const native = new Map<string, number>()
  const plugins = new Map<string, readonly string[]>()
  for (const line of section.split('\n')) {
    const cells = line.split('|').map((cell) => cell.trim())
    if (cells.length !== 6 || !/^\d+$/.test(cells[1] ?? '')) continue
    const [, floor, tsCell = '', nativeFloor = '', nativeCell = ''] = cells
    for (const name of names(tsCell)) ts.set(name, Number(floor))
    if (/^\d+$/.test(nativeFloor)) for (const name of names(nativeCell)) native.set(name, Number(nativeFloor))
    const plugin = /^(\w+):(.*?)( only)?$/.exec(nativeCell)
    if (nativeFloor === 'plug-in' && plugin) plugins.set(plugin[1] ?? '', names(plugin[2] ?? ''))
  }
  const { headers, nodeFolders } = readRules(section)
  if (!ts.size || !native.size || !headers.size || !nodeFolders.length) {
    throw new Error(
      `check-floors: ARCHITECTURE.md section 3 was not understood (TypeScript folders ${ts.size}, C++ folders ${native.size}, ` +
        `header rules ${headers.size}, node folders ${nodeFolders.length})`,
    )
  }
  return { ts, native, plugins, headers, nodeFolders }
}

/** Lines such as "- `a.h`/`b.h` only in `x/` and ISA files; `<c>` only in `y/`." and "- `node:*` only in `ts/{a,b}`." */
function readRules(section: string): Pick<Floors, 'headers' | 'nodeFolders'> {
  const headers = new Map<string, { folders: readonly string[]; isaFiles: boolean }>()
  let nodeFolders: string[] = []
  for (const line of section.split('\n').filter((text) => text.startsWith('- '))) {
    for (const rule of line.split(';')) {
      const [what = '', where] = rule.split(' only in ')
      if (where === undefined) continue
      for (const item of ticked(what)) {
        const braces = /\{([^}]*)\}/.exec(where)
        if (item === 'node:*') nodeFolders = names(braces?.[1] ?? '')
        else {
          const folders = ticked(where).map((folder) => folder.replace(/\/$/, ''))
          headers.set(item.replace(/^<|>$/g, ''), { folders, isaFiles: where.includes('ISA files') })
        }
      }
    }
  }
  return { headers, nodeFolders }
}
