/**
 * Recurrent language model (Zaremba, Sutskever, Vinyals 2014, arXiv 1409.2329; word or character tokens): embedding, dropout, a stack of LSTM or GRU
 * layers, dropout, decoder. ids i32 [B, T] -> scores of the next token [B, T, V]. With `tied` the decoder multiplies with the embedding's table (Press
 * and Wolf 2017, arXiv 1608.05859), so width and hidden must be equal.
 *
 * Weights carry the names of PyTorch's word_language_model example: encoder.weight, rnn.weight_ih_l0, ..., decoder.weight, decoder.bias.
 */
import { z } from 'zod'
import { OptionError, ShapeError } from '../base/errors.js'
import { defineModule, dropout, embedding, gru, linear, lstm, runChild, single, type Model, type ModuleSpec } from '../nn/index.js'
import { filled } from '../nn/init.js'
import { copy, linear as product } from '../ops/index.js'
import { keep, scope, type Tensor } from '../tensor/index.js'

const config = z.strictObject({
  vocabulary: z.int().positive(),
  /** Width of the embedding. */
  width: z.int().positive(),
  hidden: z.int().positive(),
  layers: z.int().positive().max(64).default(2),
  cell: z.enum(['lstm', 'gru']).default('lstm'),
  dropout: z.number().min(0).lt(1).default(0),
  tied: z.boolean().default(false),
})
export type LanguageModelConfig = z.infer<typeof config>

const make = defineModule<LanguageModelConfig>({
  kind: 'languageModel',
  config: config.refine((c) => !c.tied || c.width === c.hidden, { message: 'must equal hidden where weights are tied', path: ['width'] }),
  weights: (c) => (c.tied ? { bias: { shape: [c.vocabulary], role: 'vector', init: () => filled(c.vocabulary, 0) } } : {}),
  children: (c) => {
    const stack = { in: c.width, hidden: c.hidden, layers: c.layers, bidirectional: false, bias: true, dropout: c.dropout, init: 0 }
    return {
      encoder: embedding({ rows: c.vocabulary, width: c.width }),
      drop: dropout({ p: c.dropout }),
      rnn: c.cell === 'lstm' ? lstm(stack) : gru(stack),
      dropOut: dropout({ p: c.dropout }),
      ...(c.tied ? {} : { decoder: linear({ in: c.hidden, out: c.vocabulary, bias: true, init: 'fanIn' }) }),
    }
  },
  forward: (m, c, input, ctx) => {
    const ids = single('languageModel', input)
    if (ids.rank !== 2) throw new ShapeError('ERR_SHAPE', `languageModel: ids must be [B, T], got ${ids}`)
    let h = runChild(m, 'drop', runChild(m, 'encoder', ids, ctx), ctx)
    h = runChild(m, 'dropOut', runChild(m, 'rnn', h, ctx), ctx)
    return c.tied ? product(h, m.children.encoder!.weights.weight!.dense(), m.weights.bias!.dense()) : runChild(m, 'decoder', h, ctx)
  },
  channels: (flow, c, ids) => {
    const words = flow.child('encoder', ids)
    const h = flow.child('rnn', words)
    flow.resize((count) => ({ width: count(words?.units ?? []), hidden: count(h?.units ?? []) }))
    if (!c.tied) return flow.child('decoder', h)
    flow.join(words, h) // the decoder reads the columns of the table
    return null
  },
})

/**
 * Architecture of a recurrent language model; `layers` 2, `cell` 'lstm', no dropout and untied weights unless given.
 *
 * @example
 * import { languageModel } from 'tersor'
 * import { parameterCount } from 'tersor/nn'
 * const spec = languageModel({ vocabulary: 10000, width: 650, hidden: 650, dropout: 0.5 })   // an untrained model: build(spec, freshValues(rng))
 * parameterCount(spec)   // 19780400: no weight is made
 */
export function languageModel(options: z.input<typeof config>): ModuleSpec {
  const parsed = config.safeParse(options)
  if (parsed.success) return make(parsed.data)
  const issue = parsed.error.issues[0]!
  throw new OptionError('ERR_OPTION', `languageModel: ${issue.path.join('.') || 'configuration'}: ${issue.message}`)
}

/**
 * Recurrent state between windows of one long text: pass `map` as `ForwardContext.carried`, then call `detach` behind each step. It cuts the state off
 * the tape (truncated back-propagation through time, Williams and Peng 1990), keeps it alive and frees the one before.
 */
export class CarriedState {
  readonly map = new Map<string, Tensor>()
  #kept: readonly Tensor[] = []

  /** Call inside the scope of the step, outside of any gradient. */
  detach(): void {
    const next = [...this.map].map(([path, t]) => {
      const held = keep(copy(t))
      this.map.set(path, held)
      return held
    })
    for (const t of this.#kept) t.dispose()
    this.#kept = next
  }

  /** Begins with a state that was saved; the tensor belongs to this object from now on. */
  hold(path: string, value: Tensor): void {
    this.map.set(path, value)
    this.#kept = [...this.#kept, value]
  }

  /** Back to zeros: the beginning of another text. */
  reset(): void {
    for (const t of this.#kept) t.dispose()
    this.#kept = []
    this.map.clear()
  }

  dispose(): void {
    this.reset()
  }
}

/** Scores [B, T, V] and the state behind the window, for text that goes on. Call inside a scope; the state belongs to `state`. */
export function continueText(model: Model, ids: Tensor, state: CarriedState): Tensor {
  return scope(() => {
    const y = model.forward(ids, { carried: state.map })
    state.detach()
    return y
  })
}
