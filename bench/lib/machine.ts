/** Which caps the table of instruction sets knows, and which of them this machine has. */
import { isa } from '../../ts/native/devices.js'

interface Levels {
  /** Of this architecture, weakest first. */
  readonly known: readonly string[]
  readonly here: readonly string[]
}

export function isaLevels(): Levels {
  const { levels } = isa()
  return { known: levels.map((l) => l.name), here: levels.filter((l) => l.allowed).map((l) => l.name) }
}
export const strongestIsa = (): string => isaLevels().here.at(-1) ?? 'scalar'
