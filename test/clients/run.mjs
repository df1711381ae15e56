// Builds baler, starts `baler dev` on free ports, runs every *.test.mjs against it, and stops it with SIGINT.
// Fails if a test fails, if baler does not become ready, or if it does not stop cleanly (exit code 0).
//
// Arguments are passed to node's test runner: `npm test -- --test-name-pattern=7702`.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const root = resolve(here, '..', '..')
const blockTime = '250ms' // each operation waits for two blocks: less waiting than with the default
const readyWithin = 60_000 // ms: a slow machine that also runs other tests
const stoppedWithin = 20_000 // ms

const scratch = mkdtempSync(join(tmpdir(), 'baler-clients-'))
let code = 1
try {
  code = await main()
} catch (error) {
  console.error(`clients: ${error.message}`)
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
process.exit(code)

async function main() {
  const binary = join(scratch, 'baler')
  const build = spawnSync('go', ['build', '-buildvcs=false', '-o', binary, './cmd/baler'], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (build.status !== 0) throw new Error('go build ./cmd/baler failed')

  const readyFile = join(scratch, 'ready.json')
  const flags = ['--rpc-addr', '127.0.0.1:0', '--node-addr', '127.0.0.1:0', '--ready-file', readyFile]
  const dev = spawn(binary, ['dev', ...flags, '--rpc-debug', '--block-time', blockTime], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const log = []
  for (const stream of [dev.stdout, dev.stderr]) stream.on('data', (chunk) => log.push(chunk))
  const exited = once(dev, 'exit')
  const stopOnSignal = () => dev.kill('SIGKILL')
  process.once('SIGINT', stopOnSignal)
  process.once('SIGTERM', stopOnSignal)

  let failure
  try {
    await ready(dev, readyFile)
    const files = readdirSync(here).filter((name) => name.endsWith('.test.mjs')).sort()
    if (files.length === 0) throw new Error('no *.test.mjs found')
    // One file after another: each has its own funded key, but they share the machine and the chain's blocks.
    const tests = spawn(
      process.execPath,
      ['--test', '--test-concurrency=1', '--test-reporter=spec', ...process.argv.slice(2), ...files],
      { cwd: here, stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, BALER_READY_FILE: readyFile } },
    )
    const [status] = await once(tests, 'exit')
    if (status !== 0) failure = 'a test failed'
  } catch (error) {
    failure = error.message
  }

  const stop = await stopped(dev, exited)
  failure ??= stop
  if (failure) {
    process.stderr.write(`\n--- what baler dev printed (last 200 lines) ---\n`)
    process.stderr.write(`${Buffer.concat(log).toString().split('\n').slice(-200).join('\n')}\n`)
    throw new Error(failure)
  }
  console.log('clients: all passed, and baler dev stopped cleanly on SIGINT')
  return 0
}

// ready resolves once the ready file holds a complete JSON object.
async function ready(dev, path) {
  const deadline = Date.now() + readyWithin
  while (Date.now() < deadline) {
    if (dev.exitCode !== null || dev.signalCode !== null) {
      throw new Error(`baler dev ended before it was ready (exit ${dev.exitCode ?? dev.signalCode})`)
    }
    if (existsSync(path)) {
      try {
        JSON.parse(readFileSync(path, 'utf8'))
        return
      } catch {
        // Half written: read it again.
      }
    }
    await wait(50)
  }
  throw new Error(`baler dev was not ready within ${readyWithin} ms`)
}

// stopped asks baler dev to stop as Ctrl-C does; it returns what is wrong with how it stopped, or undefined.
async function stopped(dev, exited) {
  if (dev.exitCode !== null || dev.signalCode !== null) {
    return `baler dev ended by itself (exit ${dev.exitCode ?? dev.signalCode})`
  }
  dev.kill('SIGINT')
  const late = new AbortController()
  const result = await Promise.race([exited, wait(stoppedWithin, 'late', { signal: late.signal, ref: false })])
  late.abort()
  if (result === 'late') {
    dev.kill('SIGKILL')
    await exited
    return `baler dev did not stop within ${stoppedWithin} ms of SIGINT`
  }
  const [status, signal] = result
  return status === 0 ? undefined : `baler dev stopped with ${signal ?? `exit code ${status}`} on SIGINT, want exit code 0`
}
