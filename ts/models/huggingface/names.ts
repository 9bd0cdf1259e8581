/** Names of tensors: module paths here, Hugging Face's there. */
import { OptionError } from '../../base/errors.js'
import type { Family, HeadName, Layout, NameRow } from './family.js'

/** Weight name here -> there. */
const suffixes: Readonly<Record<string, string>> = { weight: 'weight', bias: 'bias', gamma: 'weight', beta: 'bias' }

export interface TensorName {
  /** With "@" for the prefix of the body. */
  readonly name: string
  readonly layout: Layout
}

/** Name there of the weight at `path` here. */
export function nameOf(family: Family, head: HeadName, path: string): TensorName {
  const dot = path.lastIndexOf('.')
  const [module, weight] = [path.slice(0, Math.max(dot, 0)), path.slice(dot + 1)]
  let number = ''
  const general = module.replace(/^(body\.layer)(\d+)/, (_, start: string, n: string) => {
    number = n
    return `${start}*`
  })
  const row = [...family.body, ...family.heads[head]].find(([ours]) => ours === general)
  const suffix = suffixes[weight]
  if (!row || !suffix)
    throw new OptionError('ERR_OPTION', `huggingface: ${family.className} has no name for the weight ${JSON.stringify(path)}`)
  return { name: `${row[1].replace('*', number)}.${suffix}`, layout: row[2] ?? 'same' }
}

const pattern = ([, theirs]: NameRow): RegExp => new RegExp(`^${theirs.replace(/[.]/g, '\\.').replace('*', '\\d+')}\\.(weight|bias)$`)

/** What a family's files may hold. */
export class KnownNames {
  readonly #body: readonly RegExp[]
  readonly #heads: readonly RegExp[]

  constructor(
    private readonly family: Family,
    private readonly prefix: string,
  ) {
    this.#body = family.body.map(pattern)
    this.#heads = [...Object.values(family.heads).flat().map(pattern), ...family.unread]
  }

  /** The name with "@" for the body's prefix and today's names of norms ("gamma", "beta" in files of 2018); undefined for buffers that are no weights. */
  canonical(name: string): string | undefined {
    if (this.family.buffers.some((b) => b.test(name))) return undefined
    const today = name.replace(/\.gamma$/, '.weight').replace(/\.beta$/, '.bias')
    if (today.startsWith(`${this.prefix}.`)) {
      const inner = `@${today.slice(this.prefix.length + 1)}`
      if (this.#knows(inner)) return inner
    }
    // A bare body's file has no prefix.
    return this.#knows(`@${today}`) ? `@${today}` : today
  }

  #knows(name: string): boolean {
    return this.#body.some((p) => p.test(name)) || this.#heads.some((p) => p.test(name))
  }

  /** Belongs to a head of the family (that the model at hand may not have). */
  ofAnyHead(name: string): boolean {
    return this.#heads.some((p) => p.test(name)) || Object.hasOwn(this.family.copies, name)
  }
}
