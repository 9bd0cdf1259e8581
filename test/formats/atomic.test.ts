import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { AtomicFile, writeFileAtomic } from '../../ts/formats/atomic.js'
import { nodeIo, type FileIo } from '../../ts/formats/io.js'
import { isOrphan, tempName } from '../../ts/formats/temp-names.js'
import { errno, errorOf, failingIo, filesIn, tempDir, type IoName } from './lib.js'

const OLD = Buffer.from('the old content, which must survive')
const NEW = [Buffer.from('new'), Buffer.alloc(0), Buffer.from(' content in pieces')]
const newContent = Buffer.concat(NEW)

function existing(): string {
  const file = path.join(tempDir(), 'model.bin')
  fs.writeFileSync(file, OLD)
  return file
}

describe('a written file', () => {
  test('is new or replaced, and nothing else is left', () => {
    const file = path.join(tempDir(), 'model.bin')
    for (const content of [NEW, [OLD]]) {
      writeFileAtomic(file, content)
      expect(fs.readFileSync(file).equals(Buffer.concat(content))).toBe(true)
      expect(filesIn(path.dirname(file))).toEqual(['model.bin'])
    }
  })

  test('counts bytes, not elements, of any view', () => {
    const file = existing()
    const floats = new Float32Array(1000)
    writeFileAtomic(file, new Uint8Array(floats.buffer, 4))
    expect(fs.statSync(file).size).toBe(3996)
  })

  test('can be streamed, and given up', () => {
    const file = existing()
    const out = new AtomicFile(file)
    out.write(NEW[0]!)
    expect(out.position).toBe(3)
    expect(fs.readFileSync(file).equals(OLD)).toBe(true)
    out.abort()
    expect(filesIn(path.dirname(file))).toEqual(['model.bin'])
    expect(fs.readFileSync(file).equals(OLD)).toBe(true)
    expect(errorOf(() => out.write(NEW[0]!)).code).toBe('ERR_OPTION')
    expect(errorOf(() => out.commit()).code).toBe('ERR_OPTION')
  })

  test('is given up when its source throws', () => {
    const file = existing()
    const source = function* (): Generator<Uint8Array> {
      yield NEW[0]!
      throw new RangeError('from the source')
    }
    expect(() => writeFileAtomic(file, source())).toThrow('from the source')
    expect(fs.readFileSync(file).equals(OLD)).toBe(true)
    expect(filesIn(path.dirname(file))).toEqual(['model.bin'])
  })

  test('keeps the mode of the file it replaces', () => {
    const file = existing()
    fs.chmodSync(file, 0o640)
    writeFileAtomic(file, NEW)
    expect(fs.statSync(file).mode & 0o777).toBe(0o640)
  })

  test('goes where a symbolic link points, and the link stays', () => {
    const file = existing()
    const elsewhere = tempDir()
    const link = path.join(elsewhere, 'link')
    fs.symlinkSync(file, link)
    writeFileAtomic(link, NEW)
    expect(fs.lstatSync(link).isSymbolicLink()).toBe(true)
    expect(fs.readFileSync(file).equals(newContent)).toBe(true)
    expect(filesIn(elsewhere)).toEqual(['link'])
  })

  test('may have a name as long as the file system allows', () => {
    const file = path.join(tempDir(), 'n'.repeat(255))
    writeFileAtomic(file, NEW)
    expect(fs.readFileSync(file).equals(newContent)).toBe(true)
  })

  test.each([
    ['a directory', (dir: string) => dir, 'ERR_IO', 'EISDIR'],
    ['a missing folder', (dir: string) => path.join(dir, 'no', 'file'), 'ERR_IO', 'ENOENT'],
    ['a folder that is a file', (dir: string) => path.join(dir, 'file', 'x'), 'ERR_IO', 'ENOTDIR'],
    ['a device', () => '/dev/null', 'ERR_IO', 'EINVAL'],
    ['a name that is too long', (dir: string) => path.join(dir, 'n'.repeat(256)), 'ERR_IO', 'ENAMETOOLONG'],
    ['a path of 5000 characters', (dir: string) => dir + '/x'.repeat(2500), 'ERR_IO', 'ENAMETOOLONG'],
    ['NUL in the path', (dir: string) => `${dir}/a\0b`, 'ERR_OPTION', undefined],
    ['an empty path', () => '', 'ERR_OPTION', undefined],
  ])('cannot be %s', (_, target, code, number) => {
    const dir = tempDir()
    fs.writeFileSync(path.join(dir, 'file'), OLD)
    const error = errorOf(() => writeFileAtomic(target(dir), NEW))
    expect(error).toMatchObject({ code, details: number === undefined ? {} : { errno: number, committed: false } })
    expect(filesIn(dir)).toEqual(['file'])
  })
})

describe('a failing system (P02, P04)', () => {
  /** Fails call 1, 2, ... until a write goes through; the old file must be whole after each failure. */
  function everyFailure(code: string, ops: readonly IoName[] | undefined, base: FileIo = nodeIo): number {
    for (let n = 1; ; n++) {
      const file = existing()
      const { io, calls } = failingIo(n, code, ops, base)
      let error: ReturnType<typeof errorOf> | undefined
      try {
        error = errorOf(() => writeFileAtomic(file, NEW, { io }))
      } catch (nothing) {
        expect((nothing as Error).message).toBe('nothing was thrown')
      }
      const content = fs.readFileSync(file)
      if (!error) {
        // The call that failed did not matter (cleaning up), or there was no nth call.
        expect(content.equals(newContent)).toBe(true)
        if (calls() < n) return n - 1
      } else {
        expect(error).toMatchObject({ code: 'ERR_IO', name: 'IoError', details: { errno: code, path: file } })
        expect(content.equals(error.details.committed === true ? newContent : OLD)).toBe(true)
      }
      expect(filesIn(path.dirname(file)).filter((name) => !isOrphan(name) && name !== 'model.bin')).toEqual([])
    }
  }

  test.each(['ENOSPC', 'EIO', 'EACCES', 'EROFS', 'EMFILE', 'EXDEV', 'EFBIG', 'EDQUOT'])('%s at the nth call of any kind', (code) => {
    expect(everyFailure(code, undefined)).toBeGreaterThan(10)
  })

  test.each(['write', 'fsync', 'rename', 'close', 'open', 'fstat', 'readdir'] as const)('EIO at the nth %s', (op) => {
    expect(everyFailure('EIO', [op])).toBeGreaterThan(0)
  })

  test('a disk that fills up after some bytes leaves the old file and no temporary', () => {
    for (let room = 0; room < newContent.length; room++) {
      let left = room
      const io: FileIo = {
        ...nodeIo,
        write: (fd, from, offset, length) => {
          if (left === 0) throw errno('ENOSPC')
          const n = nodeIo.write(fd, from, offset, Math.min(left, length))
          left -= n
          return n
        },
      }
      const file = existing()
      expect(errorOf(() => writeFileAtomic(file, NEW, { io }))).toMatchObject({
        code: 'ERR_IO',
        details: { errno: 'ENOSPC', committed: false },
      })
      expect(fs.readFileSync(file).equals(OLD)).toBe(true)
      expect(filesIn(path.dirname(file))).toEqual(['model.bin'])
    }
  })

  test('single bytes and interrupted calls are continued', () => {
    let calls = 0
    const io: FileIo = {
      ...nodeIo,
      write: (fd, from, offset) => {
        if (calls++ % 3 === 0) throw errno('EINTR')
        return nodeIo.write(fd, from, offset, 1)
      },
      fsync: (fd) => {
        if (calls++ % 2 === 0) throw errno('EINTR')
        nodeIo.fsync(fd)
      },
    }
    const file = existing()
    writeFileAtomic(file, NEW, { io })
    expect(fs.readFileSync(file).equals(newContent)).toBe(true)
  })

  test('a system that writes nothing, or lies about it, is found out', () => {
    for (const write of [(): number => 0, (_fd: number, _from: Uint8Array, _offset: number, length: number): number => length]) {
      const file = existing()
      expect(errorOf(() => writeFileAtomic(file, NEW, { io: { ...nodeIo, write } }))).toMatchObject({
        code: 'ERR_IO',
        details: { errno: 'EIO' },
      })
      expect(fs.readFileSync(file).equals(OLD)).toBe(true)
    }
  })

  test('only a directory that cannot be synced says committed: true', () => {
    const file = existing()
    let syncs = 0
    const io: FileIo = {
      ...nodeIo,
      fsync: (fd) => {
        if (++syncs === 2) throw errno('EIO')
        nodeIo.fsync(fd)
      },
    }
    expect(errorOf(() => writeFileAtomic(file, NEW, { io }))).toMatchObject({ code: 'ERR_IO', details: { errno: 'EIO', committed: true } })
    expect(fs.readFileSync(file).equals(newContent)).toBe(true)
  })
})

describe('a real full disk and a real limit (P02, P03)', () => {
  const script = path.join(import.meta.dirname, 'write-child.ts')
  const node = `${process.execPath} --import tsx`

  /** Runs the script in a shell after `setup`; it writes 2 MiB over the file named in its argument. */
  function runChild(setup: string, file: string): { status: number | null; output: string } {
    const child = spawnSync('unshare', ['-m', 'sh', '-c', `${setup}; ${node} ${script} once ${file}`], { encoding: 'utf8' })
    return { status: child.status, output: child.stdout + child.stderr }
  }
  const canMount =
    process.platform === 'linux' && spawnSync('unshare', ['-m', 'sh', '-c', 'mount -t tmpfs tmpfs /mnt'], { stdio: 'ignore' }).status === 0

  test.skipIf(!canMount)('a full tmpfs', () => {
    const dir = tempDir()
    const file = path.join(dir, 'model.bin')
    const { output } = runChild(`mount -t tmpfs -o size=1m tmpfs ${dir} && echo old > ${file}`, file)
    expect(output.trim()).toBe('ERR_IO ENOSPC false, content: old, files: model.bin')
  })

  test.skipIf(process.platform === 'win32')('a limit of file sizes', () => {
    const file = existing()
    const child = spawnSync('sh', ['-c', `ulimit -f 1000; ${node} ${script} once ${file}`], { encoding: 'utf8' })
    expect(child.stdout.trim()).toBe(`ERR_IO EFBIG false, content: ${OLD.toString()}, files: model.bin`)
  })
})

describe('temporaries', () => {
  const deadPid = spawnSync(process.execPath, ['-e', '']).pid

  test('of dead processes go at the next write; of living ones and of other machines stay', () => {
    const dir = tempDir()
    const mine = tempName()
    const [host, , start] = mine.split('-').slice(1)
    const dead = mine.replace(`-${process.pid}-`, `-${deadPid}-`)
    const reused = mine.replace(`-${start}-`, `-${Number(start) + 1}-`)
    const foreign = dead.replace(host!, host === '00000000' ? '00000001' : '00000000')
    const strange = '.tersor-notes.tmp'
    for (const name of [mine, dead, reused, foreign, strange]) fs.writeFileSync(path.join(dir, name), '')
    expect(isOrphan(dead)).toBe(true)
    expect(isOrphan(mine)).toBe(false)
    writeFileAtomic(path.join(dir, 'x'), NEW)
    const expected = [mine, foreign, strange, 'x', ...(os.platform() === 'linux' ? [] : [reused])]
    expect(filesIn(dir)).toEqual(expected.sort())
  })

  test('an orphan that cannot be removed disturbs nobody', () => {
    const dir = tempDir()
    const dead = tempName().replace(`-${process.pid}-`, `-${deadPid}-`)
    fs.mkdirSync(path.join(dir, dead))
    writeFileAtomic(path.join(dir, 'x'), NEW)
    expect(filesIn(dir)).toEqual([dead, 'x'].sort())
  })
})
