/** Every reproduction, in the order of the page. A new one: a file here, a line below. */
import type { Paper } from './lib/paper.js'
import renda from './renda.js'
import { loyaltyPaper } from './loyalty.js'
import { qbert } from './qbert.js'

export const papers: readonly Paper[] = [renda, loyaltyPaper, qbert]
