/** The architectures that go into GGUF files and come out of them as models. */
import type { TransformerConfig } from '../transformer/body.js'
import type { GgufArchitecture } from './architecture.js'
import { gpt2 } from './gpt2.js'
import { llama, qwen2 } from './llama.js'

const list: readonly GgufArchitecture[] = [gpt2, llama, qwen2]

/** Values of general.architecture that `loadGguf` takes. */
export const ggufArchitectures: readonly string[] = list.map((a) => a.name)

export const architectureNamed = (name: string | undefined): GgufArchitecture | undefined => list.find((a) => a.name === name)
export const architectureOf = (body: TransformerConfig): GgufArchitecture => list.find((a) => a.takes(body)) ?? gpt2
