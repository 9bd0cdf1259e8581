/**
 * Processor time, for tests that bound work: what other programs do on the machine does not count, as it does in wall time. All threads
 * of this process count.
 */
export function cpuClock(): () => number {
  const start = process.cpuUsage()
  return () => {
    const { user, system } = process.cpuUsage(start)
    return (user + system) / 1000
  }
}
