/** A training step of a word language model: two LSTM layers of 650 units (Zaremba, Sutskever, Vinyals 2014, "medium"), batch 20, 35 tokens. */
import { parts, type Case } from './case.js'

const net = { vocabulary: 10_000, hidden: 650, layers: 2, batch: 20, window: 35 } as const
const cells = net.layers * 4 * 2 * net.hidden * net.hidden
// Value, gradient of the weight, gradient of the input.
const operations = 3 * 2 * net.batch * net.window * (cells + net.hidden * net.vocabulary)

export const languageStep: Case = {
  name: 'lstm650 step',
  params: net,
  operations,
  bytes: 0,
  limits: [{ kernel: 'limit.f32', amount: operations }],
  parts: parts('language.step', 'tersor', 'torch'),
  memory: true,
  ms: 400,
}
