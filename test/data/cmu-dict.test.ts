/** The pronouncing dictionary: what its file says, as numbers. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { knownPackages, loadPronunciations, parsePronunciations, PRONUNCIATION_MARKS } from '../../ts/data/index.js'
import { tempDir } from '../cli/lib.js'
import { code } from '../nn/lib.js'

const text = `export const dictionary = {
  "'bout": "B AW1 T",
  "cat": "K AE1 T",
  "cat(2)": "K AA1 T",
  act: "AE1 K T # name",
  "tat": "T AE2 T"
}`

describe('pronunciations', () => {
  it('are pairs of spelling and sound without stress, further forms and remarks', () => {
    const { pairs, words, letters, sounds } = parsePronunciations(text)
    expect(sounds).toEqual(['<pad>', '<begin>', '<end>', 'AE', 'K', 'T'])
    expect([...words].sort()).toEqual(['act', 'cat', 'tat'])
    const said = Object.fromEntries(words.map((word, i) => [word, pairs[i]![1].map((n) => sounds[n]).join(' ')]))
    expect(said).toEqual({ act: 'AE K T', cat: 'K AE T', tat: 'T AE T' })
    words.forEach((word, i) => expect(pairs[i]![0].map((n) => letters[n]).join('')).toBe(word))
    expect(letters[PRONUNCIATION_MARKS.end]).toBe('<end>')
    expect(parsePronunciations(text)).toEqual(parsePronunciations(text))
  })

  it('come from the file in the cache; a text without any is ERR_DATA', async () => {
    const { name, version, sha256 } = knownPackages.cmuDict
    const cacheDir = tempDir()
    const folder = path.join(cacheDir, `${name}-${version}-${sha256.slice(0, 12)}`)
    fs.mkdirSync(folder)
    fs.writeFileSync(path.join(folder, 'index.js'), text)
    expect((await loadPronunciations({ cacheDir })).words).toHaveLength(3)
    fs.writeFileSync(path.join(folder, 'index.js'), 'throw new Error("never run")')
    await expect(loadPronunciations({ cacheDir })).rejects.toThrowError(code('ERR_DATA', /no entry/))
    fs.rmSync(path.join(folder, 'index.js'))
    await expect(loadPronunciations({ cacheDir })).rejects.toThrowError(code('ERR_IO', /index\.js/))
  })
})
