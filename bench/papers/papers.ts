/** Every reproduction, in the order of the page. A new one: a file here, a line below. */
import type { Paper } from './lib/paper.js'
import { dualPaper } from './dual.js'
import { dualSpeed } from './dual-speed.js'
import { filters } from './filters.js'
import { loyaltyPaper } from './loyalty.js'
import { q8bert } from './q8bert.js'
import { qbert, qbertUseLite } from './qbert.js'
import renda from './renda.js'
import { trainLarge } from './train-large.js'

export const papers: readonly Paper[] = [renda, loyaltyPaper, q8bert, qbert, qbertUseLite, trainLarge, filters, dualPaper, dualSpeed]
