/** Digits of drawn lines, turned, stretched, thick and thin: something to learn from where there is no network. */
const circle = (x, y, rx, ry, from = 0, to = 2 * Math.PI) =>
  Array.from({ length: 11 }, (_, i) => from + ((to - from) * i) / 10).map((a) => [x + rx * Math.cos(a), y + ry * Math.sin(a)])
const half = Math.PI / 2

/** Lines of each digit in the unit square, y down. */
const digits = [
  [circle(0.5, 0.5, 0.28, 0.42)],
  [[[0.36, 0.24], [0.52, 0.08], [0.52, 0.92]]], // prettier-ignore
  [[...circle(0.5, 0.3, 0.26, 0.22, -2 * half, 0.5), [0.24, 0.92], [0.78, 0.92]]], // prettier-ignore
  [circle(0.46, 0.29, 0.26, 0.21, -1.8 * half, half), circle(0.46, 0.71, 0.28, 0.21, -half, 1.8 * half)],
  [[[0.62, 0.92], [0.62, 0.08], [0.2, 0.64], [0.82, 0.64]]], // prettier-ignore
  [[[0.76, 0.08], [0.32, 0.08], [0.3, 0.46], ...circle(0.48, 0.66, 0.28, 0.26, -half, 1.7 * half)]], // prettier-ignore
  [[[0.64, 0.06], ...circle(0.5, 0.68, 0.26, 0.24, 2 * half, 6 * half)]], // prettier-ignore
  [[[0.22, 0.08], [0.78, 0.08], [0.42, 0.92]]], // prettier-ignore
  [circle(0.5, 0.29, 0.22, 0.2), circle(0.5, 0.71, 0.27, 0.22)],
  [[...circle(0.5, 0.32, 0.25, 0.24, 0, 4 * half), [0.7, 0.92]]], // prettier-ignore
]

/** Distance from a point to the segment between two. */
function distance(x, y, [ax, ay], [bx, by]) {
  const [dx, dy] = [bx - ax, by - ay]
  const t = Math.max(0, Math.min(1, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1)))
  return Math.hypot(x - ax - t * dx, y - ay - t * dy)
}

/** One digit into `out`, `side` x `side` bytes. `uniform`: numbers in [0, 1). */
function drawDigit(digit, side, uniform, out) {
  const about = (size) => (2 * uniform() - 1) * size
  const [turn, sx, sy, shear, ox, oy] = [about(0.22), 0.72 + about(0.12), 0.72 + about(0.08), about(0.25), about(0.06), about(0.06)]
  const thick = 0.045 + 0.03 * uniform()
  const move = ([x, y]) => {
    const [u, v] = [(x - 0.5 + shear * (0.5 - y)) * sx, (y - 0.5) * sy]
    return [0.5 + ox + u * Math.cos(turn) - v * Math.sin(turn), 0.5 + oy + u * Math.sin(turn) + v * Math.cos(turn)]
  }
  const lines = digits[digit].map((line) => line.map(move))
  const soft = 1 / side
  for (let i = 0; i < side * side; i++) {
    const [x, y] = [((i % side) + 0.5) / side, (Math.floor(i / side) + 0.5) / side]
    let near = 1
    for (const line of lines) for (let k = 1; k < line.length; k++) near = Math.min(near, distance(x, y, line[k - 1], line[k]))
    out[i] = Math.round(255 * Math.max(0, Math.min(1, (thick - near) / soft + 0.5)))
  }
}

module.exports = { drawDigit }
