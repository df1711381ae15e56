// What the tests know of the running `baler dev`: its ready file, and viem clients for its node and its bundler.
import { readFileSync } from 'node:fs'
import { createPublicClient, createWalletClient, defineChain, http, parseAbi } from 'viem'
import { createBundlerClient } from 'viem/account-abstraction'
import { privateKeyToAccount } from 'viem/accounts'

const path = process.env.BALER_READY_FILE
if (!path) throw new Error('BALER_READY_FILE is not set: run the tests with `npm test`')
export const ready = JSON.parse(readFileSync(path, 'utf8'))
export const contracts = ready.contracts

export const versions = ['0.6', '0.7', '0.8', '0.9']
const blockPoll = 100 // ms

export const chain = defineChain({
  id: ready.chain_id,
  name: 'baler dev',
  nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
  rpcUrls: { default: { http: [ready.node_url] } },
})

export const node = createPublicClient({ chain, transport: http(ready.node_url), pollingInterval: blockPoll })

export function bundlerClient(options = {}) {
  return createBundlerClient({
    chain,
    client: node,
    transport: http(ready.bundler_url),
    pollingInterval: blockPoll,
    ...options,
  })
}

// funder returns a wallet over one of the funded keys: each test file takes another one, counted from the end, so that
// two files never race for the same nonce.
export function funder(index) {
  const key = ready.keys.at(-1 - index)
  return createWalletClient({ account: privateKeyToAccount(hex(key)), chain, transport: http(ready.node_url) })
}

// fund sends wei to an address and waits until it is there.
export async function fund(wallet, to, value) {
  const hash = await wallet.sendTransaction({ to, value })
  const receipt = await node.waitForTransactionReceipt({ hash })
  if (receipt.status !== 'success') throw new Error(`funding ${to} failed in ${hash}`)
}

export const hex = (key) => (key.startsWith('0x') ? key : `0x${key}`)

export const counterAbi = parseAbi([
  'function count() payable',
  'function counters(address) view returns (uint256)',
  'function fail(string reason)',
])

export const counted = (address) =>
  node.readContract({ address: contracts.counter, abi: counterAbi, functionName: 'counters', args: [address] })

export const count = { to: contracts.counter, abi: counterAbi, functionName: 'count' }
export const fail = (reason) => ({ to: contracts.counter, abi: counterAbi, functionName: 'fail', args: [reason] })

// rejectionOf awaits a promise that must be refused and returns the library's error.
export async function rejectionOf(promise) {
  let value
  try {
    value = await promise
  } catch (error) {
    return error
  }
  throw new Error(`have ${value}, want an error`)
}

// named reports whether the error or one of its causes has one of the names.
export const named = (error, ...names) => Boolean(error.walk((e) => names.includes(e.name)))

// codeOf returns the JSON-RPC error code underneath a library's error.
export const codeOf = (error) => error.walk((e) => typeof e.code === 'number')?.code
