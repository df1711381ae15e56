// What apps written for other bundlers call: permissionless.js's Pimlico actions, and the methods of Alchemy's endpoints.
// Then Baler's own names for the same, and its subscriptions.
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { createSmartAccountClient } from 'permissionless'
import { toSimpleSmartAccount } from 'permissionless/accounts'
import { createPimlicoClient } from 'permissionless/clients/pimlico'
import { http, parseEther, webSocket } from 'viem'
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts'
import { chain, codeOf, contracts, count, counted, fund, funder, node, ready, rejectionOf } from './stack.mjs'

const wallet = funder(3)
const options = { timeout: 60_000 }
const version = '0.7'
const entryPoint = { address: contracts.entry_points[version], version }

const call = async (method, params = []) => {
  const { request } = http(ready.bundler_url)({ chain })
  return request({ method, params })
}

// settled asks until the answer is one of those wanted, and returns it with all that came before.
const settled = async (ask, ...wanted) => {
  const seen = []
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; ) {
    const answer = await ask()
    if (answer.status !== seen.at(-1)?.status) seen.push(answer)
    if (wanted.includes(answer.status)) return seen
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`have ${JSON.stringify(seen)}, want ${wanted}`)
}

describe('an app that was written for Pimlico', options, () => {
  const pimlico = createPimlicoClient({ chain, transport: http(ready.bundler_url), entryPoint })
  let account
  let client

  before(async () => {
    account = await toSimpleSmartAccount({
      client: node,
      owner: privateKeyToAccount(generatePrivateKey()),
      entryPoint,
      factoryAddress: contracts.account_factories[version],
    })
    client = createSmartAccountClient({
      account,
      chain,
      client: node,
      bundlerTransport: http(ready.bundler_url),
      pollingInterval: 100,
      userOperation: { estimateFeesPerGas: async () => (await pimlico.getUserOperationGasPrice()).fast },
    })
    await fund(wallet, account.address, parseEther('1'))
  })

  test('its prices rise from slow to fast, and are enough', async () => {
    const { slow, standard, fast } = await pimlico.getUserOperationGasPrice()
    assert.ok(slow.maxFeePerGas > 0n && slow.maxPriorityFeePerGas > 0n)
    assert.ok(slow.maxFeePerGas < standard.maxFeePerGas && standard.maxFeePerGas < fast.maxFeePerGas)
    assert.ok(slow.maxPriorityFeePerGas <= standard.maxPriorityFeePerGas)
    await client.sendTransaction({ calls: [count] })
    assert.equal(await counted(account.address), 1n)
  })

  test('it follows the status to the transaction', async () => {
    assert.deepEqual(await pimlico.getUserOperationStatus({ hash: `0x${'11'.repeat(32)}` }), {
      status: 'not_found',
      transactionHash: null,
    })
    const hash = await client.sendUserOperation({ calls: [count] })
    const seen = await settled(() => pimlico.getUserOperationStatus({ hash }), 'included')
    const receipt = await client.getUserOperationReceipt({ hash })
    assert.equal(seen.at(-1).transactionHash, receipt.receipt.transactionHash)
    for (const { status } of seen) assert.ok(['not_submitted', 'submitted', 'included'].includes(status), status)
  })

  test('what Baler says of the same operation', async () => {
    const hash = await client.sendUserOperation({ calls: [count] })
    const seen = await settled(() => call('baler_getUserOperationStatus', [hash]), 'included', 'failed')
    assert.equal(seen.at(-1).status, 'included')
    const story = await call('baler_getUserOperationTimeline', [hash])
    const events = story.map(({ event }) => event)
    assert.equal(events[0], 'received')
    assert.equal(events.at(-1), 'mined')
    assert.ok(story.every(({ at }, i) => i === 0 || at >= story[i - 1].at))
    assert.equal(story.at(-1).transactionHash, seen.at(-1).transactionHash)
  })

  test('a drop request that is not the account’s is refused', async () => {
    const signed = await client.prepareUserOperation({ calls: [count] })
    const request = {
      sender: account.address,
      nonce: `0x${signed.nonce.toString(16)}`,
      callData: '0x',
      callGasLimit: '0x0',
      verificationGasLimit: '0x186a0',
      preVerificationGas: '0x0',
      maxFeePerGas: '0x0',
      maxPriorityFeePerGas: '0x0',
      signature: signed.signature,
    }
    assert.equal(await call('baler_dropUserOperation', [request, entryPoint.address]), null) // nothing is pending
    const refused = await rejectionOf(call('baler_dropUserOperation', [{ ...request, callData: '0x00' }, entryPoint.address]))
    assert.equal(refused.code ?? codeOf(refused), -32602)
  })
})

describe('an app that was written for Alchemy', options, () => {
  test('prices', async () => {
    const least = BigInt(await call('rundler_maxPriorityFeePerGas'))
    const price = await call('rundler_getUserOperationGasPrice')
    assert.equal(BigInt(price.currentPriorityFee), least)
    assert.ok(BigInt(price.baseFee) > 0n && BigInt(price.blockNumber) > 0n)
    assert.ok(BigInt(price.suggested.maxPriorityFeePerGas) >= least)
    assert.ok(BigInt(price.suggested.maxFeePerGas) > BigInt(price.baseFee))
  })
})

describe('subscriptions', options, () => {
  test('an operation is followed over WebSocket', async () => {
    const { value } = await webSocket(ready.bundler_url.replace('http', 'ws'))({ chain, timeout: 10_000 })
    const socket = await value.getRpcClient()
    const heard = []
    const { result } = await socket.requestAsync({ body: { method: 'baler_subscribe', params: ['operations'] } })
    socket.socket.addEventListener('message', ({ data }) => {
      const message = JSON.parse(data)
      if (message.params?.subscription === result) heard.push(message.params.result)
    })
    const account = await toSimpleSmartAccount({
      client: node,
      owner: privateKeyToAccount(generatePrivateKey()),
      entryPoint,
      factoryAddress: contracts.account_factories[version],
    })
    await fund(wallet, account.address, parseEther('1'))
    const client = createSmartAccountClient({
      account,
      chain,
      client: node,
      bundlerTransport: http(ready.bundler_url),
      pollingInterval: 100,
    })
    const hash = await client.sendUserOperation({ calls: [count] })
    await client.waitForUserOperationReceipt({ hash, timeout: 30_000 })
    const mine = () => heard.filter(({ userOpHash }) => userOpHash === hash).map(({ event }) => event)
    await settled(async () => ({ status: mine().includes('mined') ? 'mined' : 'waiting' }), 'mined')
    assert.deepEqual(mine().slice(0, 2), ['received', 'added'])
    assert.ok(mine().includes('sent'))
    socket.close()
  })
})
