/** A process to be killed: goes on with the compression in DIR, says `saved` after each checkpoint, and `done HASH` at the end. */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { compress } from '../../ts/compress/index.js'
import { bitsOf } from './toys.js'
import { killData, killModel, killRecipe } from './kill-job.js'

async function main(dir: string): Promise<void> {
  const onEvent = (e: { readonly type: string }): void => {
    if (e.type === 'checkpoint') fs.writeSync(1, 'saved\n')
  }
  const { model } = await compress(killModel(), killRecipe, {
    data: killData,
    checkpointDir: dir,
    checkpointSeconds: 0,
    resume: true,
    onEvent,
  })
  fs.writeSync(1, `done ${createHash('sha256').update(bitsOf(model)).digest('hex')}\n`)
}

void main(process.argv[2]!)
