/**
 * Makes test/golden/esrgan-slim.json: one small image through x2 of @upscalerjs/esrgan-slim by TensorFlow.js on its plain CPU backend. In an empty folder:
 *
 *   npm install @tensorflow/tfjs@4.22.0
 *   npm pack @upscalerjs/esrgan-slim@1.0.0 && tar xzf *.tgz
 *   node <this file> package/models/x2 <where to write>
 */
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'

const require = createRequire(path.join(process.cwd(), 'x.js'))
const tf = require('@tensorflow/tfjs')
const [, , folder, target] = process.argv
const { modelTopology, weightsManifest } = JSON.parse(fs.readFileSync(path.join(folder, 'model.json'), 'utf8'))
const [{ paths, weights }] = weightsManifest
const bytes = Buffer.concat(paths.map((p) => fs.readFileSync(path.join(folder, p))))
const weightData = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)
const model = await tf.loadLayersModel(tf.io.fromMemory({ modelTopology, weightSpecs: weights, weightData }))
const x = Float32Array.from({ length: 6 * 5 * 3 }, (_, i) => ((i * 37) % 101) / 100)
const y = model.predict(tf.tensor(x, [1, 6, 5, 3]))
fs.writeFileSync(target, JSON.stringify({ shape: y.shape, data: Array.from(y.dataSync(), (v) => Number(v.toPrecision(8))) }))
