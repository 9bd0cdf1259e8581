/** Activations of one input. */
import { relu, sigmoid, tanh } from '../../ops/index.js'
import type { Tensor } from '../../tensor/index.js'
import { defineOnnxOp } from '../define.js'
import { sameType } from '../infer.js'
import { keepsElements } from './channels.js'
import { unary } from './values.js'

function activation(name: string, since: readonly number[], host: (x: number) => number, native: (x: Tensor) => Tensor): void {
  defineOnnxOp(name, { since, inputs: [1, 1], infer: sameType, channels: keepsElements, run: (ctx, [x]) => unary(ctx, x, host, native) })
}

activation('Relu', [6, 13, 14], (x) => Math.max(0, x), relu)
activation('Sigmoid', [6, 13], (x) => 1 / (1 + Math.exp(-x)), sigmoid)
activation('Tanh', [6, 13], Math.tanh, tanh)
