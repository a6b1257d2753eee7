// node run.mjs NOUN SCENARIO ARGUMENTS: runs one exported function of scenarios/NOUN.mjs in a process of its own.
// Writes one JSON object a line: {step} while it runs, at the end {result} or {error}. Reads steps from stdin.
import { createInterface } from 'node:readline'

// providers chat on stdout, which is ours
console.log = console.info = console.warn = console.error

const [noun, scenario, text] = process.argv.slice(2)
const args = JSON.parse(text)
const write = (message, code) => process.stdout.write(JSON.stringify(message) + '\n', () => code !== undefined && process.exit(code))
const fail = error => write({ error: error?.stack ?? String(error) }, 1)
process.on('uncaughtException', fail)
process.on('unhandledRejection', fail)
setTimeout(() => fail(new Error(`${noun}.${scenario} ran past its deadline`)), args.deadline * 1000)

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
/** Tell the test where we are and wait until it answers. Returns its answer. */
const meet = async (step, data = {}) => {
  write({ step, ...data })
  const { value, done } = await lines.next()
  if (done) throw new Error(`nobody answered ${step}`)
  return JSON.parse(value)
}

try {
  const scenarios = await import(`./scenarios/${noun}.mjs`)
  write({ result: (await scenarios[scenario](args, meet)) ?? {} }, 0)
} catch (error) {
  fail(error)
}
