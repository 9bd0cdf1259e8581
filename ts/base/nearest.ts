/** "Did you mean": the known name with the smallest edit distance. */

const MAX_NAME = 64

/** Edits (insert, delete, replace, exchange of neighbours) between two names; `limit + 1` as soon as it is more than `limit`. */
export function editDistance(a: string, b: string, limit = Infinity): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    let least = i
    for (let j = 1; j <= b.length; j++) {
      let d = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) d = Math.min(d, before[j - 2]! + 1)
      row.push(d)
      if (d < least) least = d
    }
    if (least > limit) return limit + 1
    before = last
    last = row
  }
  return last[b.length]!
}

/** The nearest of `known` within about a third of the name's length; ties go to the first. Letter case and separators count little. */
export function nearest(name: string, known: Iterable<string>): string | undefined {
  const plain = (s: string): string => s.slice(0, MAX_NAME).toLowerCase().replace(/[-_ ]/g, '')
  const wanted = plain(name)
  let best: string | undefined
  let limit = Math.max(1, Math.floor(wanted.length / 3) + 1)
  for (const candidate of known) {
    const d = editDistance(wanted, plain(candidate), limit)
    if (d > limit || (d === limit && best !== undefined)) continue
    best = candidate
    limit = d
  }
  return best
}

/** `; did you mean "x"?` or the list of what is known. */
export function suggestion(name: string, known: readonly string[]): string {
  const found = nearest(name, known)
  if (found !== undefined) return `; did you mean ${JSON.stringify(found)}?`
  return known.length === 0 ? '; none is known here' : `; known: ${known.slice(0, 20).join(', ')}${known.length > 20 ? ', ...' : ''}`
}
