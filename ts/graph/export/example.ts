/** An input to trace a model on, where its own description says what it takes. */
import { OptionError } from '../../base/errors.js'
import type { Model } from '../../nn/index.js'
import { full, tensor, type Tensor } from '../../tensor/index.js'

export interface Example {
  readonly input: Readonly<Record<string, Tensor>>
  /** Sizes that may differ from run to run. */
  readonly dynamic: Readonly<Record<string, Readonly<Record<number, string>>>>
  /** Where tables by position end. */
  readonly longest?: Readonly<Record<string, number>>
}

/** Kinds of roots that read token ids [batch, tokens]: the name of that input, and whether a mask goes with it. */
const readers: Readonly<Record<string, readonly [ids: string, masked: boolean]>> = {
  textEmbedding: ['ids', true],
  textClassifier: ['ids', true],
  tokenClassifier: ['ids', true],
  maskedLanguage: ['ids', true],
  causalLanguage: ['ids', true],
  useLite: ['ids', true],
  languageModel: ['x', false],
}

/**
 * What the model's description says about its input: images and numbers by `inputShape`, transformers and language models by their kind. Call inside a
 * scope. ERR_OPTION for models that say nothing.
 */
export function exampleInput(model: Model): Example {
  const { inputShape } = model.info
  if (inputShape) {
    const size = inputShape.reduce((n, d) => n * d, 2)
    const x = tensor(
      Float32Array.from({ length: size }, (_, i) => Math.sin(i)),
      [2, ...inputShape],
    )
    return { input: { x }, dynamic: { x: { 0: 'batch' } } }
  }
  const reader = readers[model.root.kind]
  if (!reader)
    throw new OptionError(
      'ERR_OPTION',
      `export: a model of kind ${model.root.kind} does not say what it takes; give an example of its input`,
    )
  const [ids, masked] = reader
  const sizes = { 0: 'batch', 1: 'tokens' }
  const input: Record<string, Tensor> = {
    [ids]: tensor(
      Int32Array.from({ length: 10 }, (_, i) => 1 + (i % 3)),
      [2, 5],
    ),
  }
  if (masked) input.mask = full([2, 5], 1)
  if (masked && hasTypes(model)) input.types = full([2, 5], 0, 'i32')
  const { maxTokens } = model.root.config as { readonly maxTokens?: number }
  const dynamic = Object.fromEntries(Object.keys(input).map((name) => [name, sizes]))
  return { input, dynamic, ...(maxTokens ? { longest: { tokens: maxTokens } } : {}) }
}

function hasTypes(model: Model): boolean {
  const body = (model.root.config as { readonly body?: { readonly types?: number } }).body
  return (body?.types ?? 0) > 0
}
