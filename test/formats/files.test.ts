import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { checkRelativeName, openBeneath } from '../../ts/formats/beneath.js'
import { bytesSource, openSource, readRegularFile } from '../../ts/formats/files.js'
import { nodeIo, type FileIo } from '../../ts/formats/io.js'
import { errno, errorOf, failingIo, tempDir } from './lib.js'

function sample(content = 'hello, file'): string {
  const file = path.join(tempDir(), 'x')
  fs.writeFileSync(file, content)
  return file
}

describe('reading a regular file', () => {
  test('whole, in parts, and by single bytes with interruptions', () => {
    let calls = 0
    const io: FileIo = {
      ...nodeIo,
      read: (fd, into, offset, _length, position) => {
        if (calls++ % 2 === 0) throw errno('EINTR')
        return nodeIo.read(fd, into, offset, 1, position)
      },
    }
    const file = sample()
    expect(Buffer.from(readRegularFile(file, { io })).toString()).toBe('hello, file')
    const source = openSource(file)
    expect(Buffer.from(source.read(7, 4)).toString()).toBe('file')
    expect(errorOf(() => source.read(8, 4))).toMatchObject({ code: 'ERR_MODEL_FORMAT', details: { reason: 'truncated', byteOffset: 12 } })
    source.close()
    source.close()
    expect(errorOf(() => source.read(0, 1)).details.errno).toBe('EBADF')
  })

  test('bounded in size', () => {
    expect(errorOf(() => readRegularFile(sample(), { maxBytes: 10 }))).toMatchObject({
      code: 'ERR_LIMIT',
      details: { limit: 'fileBytes', value: 11, max: 10 },
    })
  })

  test('a file that is truncated while it is read', () => {
    const file = sample('x'.repeat(100))
    const io: FileIo = {
      ...nodeIo,
      read: (fd, into, offset, length, position) => {
        if (position > 0) fs.truncateSync(file, 10)
        return nodeIo.read(fd, into, offset, Math.min(length, 20), position)
      },
    }
    expect(errorOf(() => readRegularFile(file, { io }))).toMatchObject({ code: 'ERR_MODEL_FORMAT', details: { reason: 'truncated' } })
  })

  test('a file that is replaced while it is read: the opened one counts', () => {
    const file = sample('first content')
    const source = openSource(file)
    fs.renameSync(sample('second'), file)
    expect(Buffer.from(source.read(0, source.size)).toString()).toBe('first content')
    source.close()
  })

  test('errors of the system keep their number; the descriptor is closed', () => {
    const open = (): number => fs.readdirSync('/proc/self/fd').length
    const file = sample()
    const before = process.platform === 'linux' ? open() : 0
    for (const op of ['stat', 'open', 'fstat', 'read'] as const) {
      const io = failingIo(1, 'EIO', [op]).io
      expect(errorOf(() => readRegularFile(file, { io }))).toMatchObject({ code: 'ERR_IO', details: { errno: 'EIO', path: file } })
    }
    if (process.platform === 'linux') expect(open()).toBe(before)
    expect(errorOf(() => readRegularFile('/no/such/file')).details.errno).toBe('ENOENT')
  })

  test('more memory than there is', () => {
    const source = { ...bytesSource(new Uint8Array(4)), size: 2 ** 52 }
    expect(source.read(0, 4).length).toBe(4)
    const io: FileIo = { ...nodeIo, fstat: (fd) => Object.assign(nodeIo.fstat(fd), { size: 2 ** 52 }) }
    expect(errorOf(() => readRegularFile(sample(), { io, maxBytes: 2 ** 53 })).code).toBe('ERR_MEMORY_BUDGET')
  })
})

describe('files that a model names', () => {
  test.each([
    '../x',
    'a/../../x',
    '/etc/passwd',
    '\\x',
    'C:\\x',
    'c:x',
    '//server/x',
    'a//b',
    './x',
    'a/.',
    '..',
    '',
    'a\0b',
    'a\nb',
    '..\\x',
    'a\\..\\..\\x',
    'file:x',
    'x'.repeat(1025),
  ])('refused: %j', (name) => expect(errorOf(() => checkRelativeName('test', name)).code).toBe('ERR_PATH'))

  test('accepted: names beneath', () => {
    expect(checkRelativeName('test', 'a/b.c/..d')).toEqual(['a', 'b.c', '..d'])
    const dir = tempDir()
    fs.mkdirSync(path.join(dir, 'sub'))
    fs.writeFileSync(path.join(dir, 'sub', 'x'), 'x')
    const source = openBeneath('test', dir, 'sub/x')
    expect(source.size).toBe(1)
    source.close()
  })

  test('symbolic links, links in the path, hard links, folders, devices', () => {
    const dir = tempDir()
    const outside = sample('secret')
    fs.symlinkSync(outside, path.join(dir, 'link'))
    fs.symlinkSync(path.dirname(outside), path.join(dir, 'linked'))
    fs.linkSync(outside, path.join(dir, 'hard'))
    fs.mkdirSync(path.join(dir, 'folder'))
    for (const name of ['link', 'linked/x', 'hard', 'folder'])
      expect(
        errorOf(() => openBeneath('test', dir, name)),
        name,
      ).toMatchObject({ code: 'ERR_PATH' })
    expect(errorOf(() => openBeneath('test', '/dev', 'zero')).code).toBe('ERR_PATH')
    expect(errorOf(() => openBeneath('test', dir, 'missing')).details.errno).toBe('ENOENT')
  })

  test('a link put there after the check is not followed', () => {
    const dir = tempDir()
    fs.symlinkSync(sample('secret'), path.join(dir, 'late'))
    const io: FileIo = { ...nodeIo, lstat: () => nodeIo.lstat(dir) }
    expect(errorOf(() => openBeneath('test', dir, 'late', { io })).code).toBe('ERR_PATH')
  })
})
