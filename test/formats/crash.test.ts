import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { writeFileAtomic } from '../../ts/formats/atomic.js'
import { nodeIo, type FileIo } from '../../ts/formats/io.js'
import { readSafetensors } from '../../ts/formats/safetensors.js'
import { isOrphan } from '../../ts/formats/temp-names.js'
import { filesIn, tempDir } from './lib.js'

/** Starts a writer, kills it after its first acknowledgement and `ms` more, gives the last number it acknowledged. */
function writeAndKill(file: string, ms: number): Promise<number> {
  const child = spawn(process.execPath, ['--import', 'tsx', path.join(import.meta.dirname, 'write-child.ts'), 'loop', file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  let armed = false
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
    if (!armed) setTimeout(() => child.kill('SIGKILL'), ms)
    armed = true
  })
  return new Promise((resolve) => child.on('close', () => resolve(Number(output.trim().split('\n').at(-1)))))
}

test('kill -9 while writing: the file is whole and not older than acknowledged, orphans go (P01)', async () => {
  const file = path.join(tempDir(), 'checkpoint.safetensors')
  let orphans = 0
  for (let kill = 0; kill < 16; kill++) {
    const acknowledged = await writeAndKill(file, (kill * 7) % 40)
    const { tensors, metadata } = readSafetensors(file, { checksums: 'require' })
    const n = Number(metadata.get('n'))
    expect(n).toBeGreaterThanOrEqual(acknowledged)
    expect(n).toBeLessThanOrEqual(acknowledged + 1)
    expect(tensors.get('w')!.data.every((v) => v === (n & 255))).toBe(true)
    const left = filesIn(path.dirname(file)).filter(isOrphan)
    orphans += left.length
    expect(left.length).toBeLessThanOrEqual(1) // the one of this kill: those before went at this child's first write
  }
  writeFileAtomic(file, new Uint8Array())
  expect(filesIn(path.dirname(file))).toEqual(['checkpoint.safetensors'])
  expect(orphans).toBeGreaterThan(0)
})

/** What a disk may hold after a power failure. */
type Step = { op: 'write'; bytes: Buffer } | { op: 'fsync' } | { op: 'rename' } | { op: 'dirsync' }

/** Every content that `target` may have when the power fails after `done` of the steps. */
function crashStates(steps: readonly Step[], done: number, old: string): Set<string> {
  const past = steps.slice(0, done)
  const synced = past.findLastIndex((s) => s.op === 'fsync')
  const bytes = (list: readonly Step[]): string => list.map((s) => (s.op === 'write' ? s.bytes.toString() : '')).join('')
  const contents = new Set<string>()
  // What was written after the last sync of the file may be there in part, or as zeros where only the size arrived.
  const sure = bytes(past.slice(0, synced + 1))
  const unsure = bytes(past.slice(synced + 1))
  for (let n = 0; n <= unsure.length; n++) contents.add(sure + unsure.slice(0, n)).add(sure + '\0'.repeat(n))
  const renamed = past.some((s) => s.op === 'rename')
  const states = new Set<string>()
  if (!renamed || !past.some((s) => s.op === 'dirsync')) states.add(old)
  if (renamed) for (const content of contents) states.add(content)
  return states
}

test('power failure at every step: old or new, never between (P05)', () => {
  const file = path.join(tempDir(), 'x')
  const old = 'old content'
  fs.writeFileSync(file, old)
  const steps: Step[] = []
  const directories = new Set<number>()
  const io: FileIo = {
    ...nodeIo,
    open: (name, flags, mode) => {
      const fd = nodeIo.open(name, flags, mode)
      if (nodeIo.fstat(fd).isDirectory()) directories.add(fd)
      return fd
    },
    write: (fd, from, offset, length) => {
      const n = nodeIo.write(fd, from, offset, Math.min(length, 5))
      steps.push({ op: 'write', bytes: Buffer.from(from.slice(offset, offset + n)) })
      return n
    },
    fsync: (fd) => {
      nodeIo.fsync(fd)
      steps.push({ op: directories.has(fd) ? 'dirsync' : 'fsync' })
    },
    rename: (from, to) => {
      nodeIo.rename(from, to)
      steps.push({ op: 'rename' })
    },
  }
  const content = 'the new content, which is longer'
  writeFileAtomic(file, [Buffer.from(content.slice(0, 9)), Buffer.from(content.slice(9))], { io })
  expect(steps.filter((s) => s.op !== 'write').map((s) => s.op)).toEqual(['fsync', 'rename', 'dirsync'])
  let states = 0
  for (let done = 0; done <= steps.length; done++)
    for (const state of crashStates(steps, done, old)) {
      states++
      expect([old, content]).toContain(state)
      if (done === steps.length) expect(state).toBe(content)
    }
  expect(states).toBeGreaterThan(steps.length)
  // The model is worth something: without the sync before the rename it finds broken states.
  const careless = steps.filter((s) => s.op !== 'fsync')
  expect([...crashStates(careless, careless.length, old)].some((s) => s !== old && s !== content)).toBe(true)
})
