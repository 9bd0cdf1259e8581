// Ends the process in a given way while calls are in flight.
const { native } = require(process.env.TERSOR_LOADER).loadAddon()
const [how, delay] = process.argv.slice(2)
const op = Object.fromEntries(native.schemas.map((s, i) => [s.slice(0, s.indexOf('(')), i]))
native.create(1, [400, 400])
const x = native.out[0]
const pending = Array.from({ length: 8 }, () => native.callAsync(op.matmul, x, x, false, false))
const end = () => {
  if (how === 'exit') process.exit(7)
  if (how === 'throw') throw new Error('on purpose')
  if (how === 'reject') Promise.reject(new Error('on purpose'))
  if (how === 'term') process.kill(process.pid, 'SIGTERM')
}
if (how === 'natural') Promise.all(pending).then((all) => console.log(all.length))
else if (delay === 'now') end()
else setTimeout(end, Number(delay))
