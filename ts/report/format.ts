/** Numbers as people read them; the same in tables, pages and on the terminal. */

/** 1536 -> "1.5 KiB". */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let v = bytes
  let u = 0
  while (v >= 1024 && u < units.length - 1) {
    v /= 1024
    u++
  }
  return `${u === 0 ? v : v >= 100 ? v.toFixed(0) : v >= 10 ? v.toFixed(1) : v.toFixed(2)} ${units[u]}`
}

export function formatRatio(ratio: number): string {
  return `${ratio >= 10 ? ratio.toFixed(1) : ratio.toFixed(2)}x`
}

/** 0.9473 -> "94.7 %"; shares below 1 % keep two digits. */
export function formatPercent(share: number, digits = share > 0 && share < 0.01 ? 2 : 1): string {
  return `${(share * 100).toFixed(digits)} %`
}

export function formatMs(ms: number): string {
  return ms >= 100
    ? `${ms.toFixed(0)} ms`
    : ms >= 10
      ? `${ms.toFixed(1)} ms`
      : ms >= 0.1
        ? `${ms.toFixed(2)} ms`
        : `${(ms * 1000).toFixed(1)} us`
}

export function formatCount(n: number): string {
  return n.toString().replace(/\B(?=(\d{3})+$)/g, ',')
}

export function formatDuration(seconds: number): string {
  if (seconds < 59.5) return `${seconds.toFixed(seconds < 9.95 ? 1 : 0)} s`
  const whole = Math.round(seconds)
  return `${Math.floor(whole / 60)} min ${whole % 60} s`
}

/** Three significant digits; exponent form when tiny. */
export function formatNumber(v: number): string {
  if (v === 0) return '0'
  return Math.abs(v) < 1e-3 || Math.abs(v) >= 1e5 ? v.toExponential(2) : String(Number(v.toPrecision(3)))
}
