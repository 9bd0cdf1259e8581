/** The programs of docs/guides/data.md print what the page says. */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { environment, root } from '../cli/lib.js'

test('docs/guides/data.md', () => {
  const page = fs.readFileSync(path.join(root, 'docs', 'guides', 'data.md'), 'utf8')
  const program = [...page.matchAll(/^```js\n([^]*?)^```$/gm)].map(([, code]) => code!).join('\n')
  const wanted = [...program.matchAll(/\/\/ -> (.*)$/gm)].map(([, line]) => line!)
  expect(wanted.length).toBeGreaterThan(12)
  // Inside the package, so that 'tersor' means it.
  fs.mkdirSync(path.join(root, '.cache'), { recursive: true })
  const dir = fs.mkdtempSync(path.join(root, '.cache', 'guide-'))
  try {
    fs.writeFileSync(path.join(dir, 'guide.mjs'), program)
    const { stdout, stderr, status } = spawnSync(process.execPath, ['guide.mjs'], {
      cwd: dir,
      encoding: 'utf8',
      timeout: 30_000,
      env: environment(),
    })
    expect({ stderr, status }).toEqual({ stderr: '', status: 0 })
    expect(stdout.trim().split('\n')).toEqual(wanted)
  } finally {
    fs.rmSync(dir, { recursive: true, force: true })
  }
})
