/**
 * A drawing as the model knows digits: scaled into 20 x 20, put into 28 x 28 by its centre of mass (as MNIST was made). No drawing: null.
 * `ink`: `size` x `size` numbers in [0, 1], row by row.
 */
function toDigit(ink, size) {
  let [left, top, right, bottom] = [size, size, -1, -1]
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++)
      if (ink[y * size + x] > 0.1) {
        ;[left, right] = [Math.min(left, x), Math.max(right, x)]
        ;[top, bottom] = [Math.min(top, y), Math.max(bottom, y)]
      }
  if (right < 0) return null
  const step = Math.max(right - left + 1, bottom - top + 1) / 20 // pixels of the drawing for one of the digit
  const [width, height] = [Math.ceil((right - left + 1) / step), Math.ceil((bottom - top + 1) / step)]
  const small = new Float32Array(width * height)
  let [mass, mx, my] = [0, 0, 0]
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const value = mean(ink, size, left + x * step, top + y * step, step)
      small[y * width + x] = value
      mass += value
      mx += value * x
      my += value * y
    }
  const place = (centre, length) => Math.max(0, Math.min(28 - length, Math.round(13.5 - centre)))
  const [dx, dy] = [place(mx / mass, width), place(my / mass, height)]
  const digit = new Float32Array(28 * 28)
  for (let y = 0; y < height; y++) digit.set(small.subarray(y * width, (y + 1) * width), (y + dy) * 28 + dx)
  return digit
}

/** Mean of a square of the drawing, at least one pixel of it. */
function mean(ink, size, x0, y0, side) {
  const [x1, y1] = [x0, y0].map((from) => Math.min(size, Math.max(Math.floor(from) + 1, Math.floor(from + side))))
  let sum = 0
  for (let y = Math.floor(y0); y < y1; y++) for (let x = Math.floor(x0); x < x1; x++) sum += ink[y * size + x]
  return sum / ((x1 - Math.floor(x0)) * (y1 - Math.floor(y0)) || 1)
}
