/** Work that is paced lets others read files: all turns that a small file takes fit into one pause. The clock and the requests are set by hand. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { pacer } from '../../ts/base/pace.js'

let now = 0
/** Turns of the event loop that requests of others still take. */
let waiting = 0
let turns = 0

beforeEach(() => {
  ;[now, waiting, turns] = [0, 0, 0]
  vi.spyOn(performance, 'now').mockImplementation(() => now)
  vi.spyOn(process, 'getActiveResourcesInfo').mockImplementation(() => {
    turns++
    now += 0.25
    return waiting-- > 0 ? ['TTYWrap', 'FSReqPromise'] : ['TTYWrap', 'Timeout']
  })
})
afterEach(() => vi.restoreAllMocks())

it('nothing is waited for before 15 ms of work', async () => {
  const breathe = pacer('test')
  now = 14
  await breathe()
  expect(turns).toBe(0)
})

it('one turn when nobody waits, and the next stretch begins behind it', async () => {
  const breathe = pacer('test')
  now = 16
  await breathe()
  expect(turns).toBe(1)
  now += 14
  await breathe()
  expect(turns).toBe(1)
})

it('all turns that a small file takes fit into one pause, not one a pause', async () => {
  const breathe = pacer('test')
  ;[now, waiting] = [16, 5]
  await breathe()
  expect({ turns, waiting }).toEqual({ turns: 6, waiting: -1 })
})

it('requests without end hold the work for 2 ms', async () => {
  const breathe = pacer('test')
  ;[now, waiting] = [16, Infinity]
  await breathe()
  expect(now).toBe(18)
})

it('stops at once when it is told to', async () => {
  await expect(pacer('test', AbortSignal.abort())()).rejects.toMatchObject({ code: 'ERR_ABORTED' })
})
