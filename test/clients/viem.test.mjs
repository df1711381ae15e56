// viem's bundler client and a SimpleAccount, over every EntryPoint version.
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { createClient, encodeFunctionData, getAddress, http, isAddressEqual, parseEther, webSocket, zeroHash } from 'viem'
import { bundlerActions, getUserOperationHash } from 'viem/account-abstraction'
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts'
import { verifyingPaymaster } from './paymaster.mjs'
import { toSimpleAccount } from './simple-account.mjs'
import {
  bundlerClient,
  chain,
  codeOf,
  contracts,
  count,
  counted,
  fail,
  fund,
  funder,
  named,
  node,
  ready,
  rejectionOf,
  versions,
} from './stack.mjs'

const wallet = funder(0)
const options = { timeout: 60_000 }
const newAccount = (version) => toSimpleAccount({ version, owner: privateKeyToAccount(generatePrivateKey()) })

describe('what the bundler says of itself', options, () => {
  test('chain id and EntryPoints', async () => {
    const bundler = bundlerClient()
    assert.equal(await bundler.getChainId(), chain.id)
    const supported = (await bundler.getSupportedEntryPoints()).map((address) => getAddress(address)).sort()
    assert.deepEqual(supported, Object.values(contracts.entry_points).map((address) => getAddress(address)).sort())
  })

  test('the same over WebSocket and in a JSON-RPC batch', async () => {
    const socket = createClient({ chain, transport: webSocket(ready.bundler_url.replace(/^http/, 'ws')) }).extend(bundlerActions)
    assert.equal(await socket.getChainId(), chain.id)
    const rpc = await socket.transport.getRpcClient()
    rpc.close()

    const batching = bundlerClient({ transport: http(ready.bundler_url, { batch: { wait: 10 } }) })
    const [id, entryPoints] = await Promise.all([batching.getChainId(), batching.getSupportedEntryPoints()])
    assert.equal(id, chain.id)
    assert.equal(entryPoints.length, versions.length)
  })

  test('an operation nobody sent is not found', async () => {
    const bundler = bundlerClient()
    assert.ok(named(await rejectionOf(bundler.getUserOperation({ hash: zeroHash })), 'UserOperationNotFoundError'))
    assert.ok(
      named(await rejectionOf(bundler.getUserOperationReceipt({ hash: zeroHash })), 'UserOperationReceiptNotFoundError'),
    )
  })
})

for (const version of versions) {
  describe(`EntryPoint ${version}`, options, () => {
    const entryPoint = contracts.entry_points[version]
    let account
    let bundler

    // send sends calls from the account and returns the operation's receipt.
    const send = async (args, as = bundler) => {
      const hash = await as.sendUserOperation(args)
      return as.waitForUserOperationReceipt({ hash, timeout: 30_000 })
    }

    before(async () => {
      account = await newAccount(version)
      bundler = bundlerClient({ account })
      await fund(wallet, account.address, parseEther('1'))
    })

    test('estimates the first operation, which deploys the account', async () => {
      const gas = await bundler.estimateUserOperationGas({ calls: [count] })
      for (const field of ['callGasLimit', 'verificationGasLimit', 'preVerificationGas']) {
        assert.equal(typeof gas[field], 'bigint', field)
        assert.ok(gas[field] > 0n, field)
      }
    })

    test('estimates for an account without funds when a state override gives it some', async () => {
      const poor = await newAccount(version)
      const gas = await bundlerClient({ account: poor }).estimateUserOperationGas({
        calls: [{ to: contracts.counter, value: 5n, data: '0x06661abd' }],
        stateOverride: [{ address: poor.address, balance: parseEther('2') }],
      })
      assert.ok(gas.callGasLimit > 0n)
    })

    test('deploys the account and calls', async () => {
      const prepared = await bundler.prepareUserOperation({ calls: [count] })
      const signature = await account.signUserOperation(prepared)
      const hash = await bundler.sendUserOperation({ ...prepared, signature })
      assert.equal(
        hash,
        getUserOperationHash({
          chainId: chain.id,
          entryPointAddress: entryPoint,
          entryPointVersion: version,
          userOperation: { ...prepared, signature },
        }),
      )
      const receipt = await bundler.waitForUserOperationReceipt({ hash, timeout: 30_000 })
      assert.equal(receipt.success, true)
      assert.equal(receipt.userOpHash, hash)
      assert.ok(isAddressEqual(receipt.sender, account.address))
      assert.ok(isAddressEqual(receipt.entryPoint, entryPoint))
      assert.equal(BigInt(receipt.nonce), prepared.nonce)
      assert.ok(receipt.actualGasUsed > 0n && receipt.actualGasCost > 0n)
      assert.equal(receipt.receipt.status, 'success')
      assert.ok(
        receipt.logs.some((log) => isAddressEqual(log.address, contracts.counter)),
        'the operation’s own logs hold the counter’s event',
      )
      assert.equal(await counted(account.address), 1n)
      assert.notEqual(await node.getCode({ address: account.address }), undefined)

      const found = await bundler.getUserOperation({ hash })
      assert.ok(isAddressEqual(found.entryPoint, entryPoint))
      assert.equal(found.transactionHash, receipt.receipt.transactionHash)
      assert.equal(found.blockNumber, receipt.receipt.blockNumber)
      assert.equal(found.userOperation.nonce, prepared.nonce)
      assert.equal(found.userOperation.callData, prepared.callData)
      assert.equal(found.userOperation.callGasLimit, prepared.callGasLimit)
      assert.equal(found.userOperation.signature, signature)
    })

    test('calls again, and moves value', async () => {
      const to = privateKeyToAccount(generatePrivateKey()).address
      const receipt = await send({ calls: [{ to, value: 1n }] })
      assert.equal(receipt.success, true)
      assert.equal(await node.getBalance({ address: to }), 1n)
    })

    test('is sponsored: the account owns nothing and pays nothing', async () => {
      const poor = await newAccount(version)
      const paymaster = verifyingPaymaster(version)
      const receipt = await send({ calls: [count] }, bundlerClient({ account: poor, paymaster }))
      assert.equal(receipt.success, true)
      assert.ok(isAddressEqual(receipt.paymaster, paymaster.address))
      assert.equal(await counted(poor.address), 1n)
      assert.equal(await node.getBalance({ address: poor.address }), 0n)
    })

    test('an inner call that fails: refused by the estimate, mined without success', async () => {
      // With the call's ABI viem decodes the revert data itself, and drops the JSON-RPC error for what it decoded.
      const decoded = await rejectionOf(bundler.estimateUserOperationGas({ calls: [fail('not today')] }))
      assert.ok(named(decoded, 'ContractFunctionRevertedError'), decoded.message)
      assert.match(decoded.message, /not today/)

      const raw = { to: contracts.counter, data: encodeFunctionData(fail('not today')) }
      const refused = await rejectionOf(bundler.estimateUserOperationGas({ calls: [raw] }))
      assert.equal(codeOf(refused), -32521)
      assert.ok(named(refused, 'ExecutionRevertedError'), refused.message)
      assert.match(refused.details, /not today/)

      const receipt = await send({ calls: [fail('not today')], ...(await gasOf(bundler)) })
      assert.equal(receipt.success, false)
      assert.equal(receipt.receipt.status, 'success')
    })

    test('a signature by somebody else is refused as such', async () => {
      const stranger = privateKeyToAccount(generatePrivateKey())
      const signature = await stranger.signMessage({ message: 'not the owner' })
      const refused = await rejectionOf(bundler.sendUserOperation({ calls: [count], signature, ...(await gasOf(bundler)) }))
      assert.equal(codeOf(refused), -32507)
      assert.ok(named(refused, 'UserOperationSignatureError', 'SignatureCheckFailedError'), refused.message)
    })

    test('a used nonce is refused as such', async () => {
      const refused = await rejectionOf(
        bundler.sendUserOperation({ calls: [count], nonce: await usedNonce(account), ...(await gasOf(bundler)) }),
      )
      assert.ok(named(refused, 'InvalidAccountNonceError'), refused.message)
    })

    test('an account that cannot pay is refused as such', async () => {
      const poor = await newAccount(version)
      const refused = await rejectionOf(
        bundlerClient({ account: poor }).sendUserOperation({
          calls: [count],
          callGasLimit: 100_000n,
          verificationGasLimit: 400_000n,
          preVerificationGas: 100_000n,
        }),
      )
      assert.equal(codeOf(refused), -32500)
      assert.ok(named(refused, 'InsufficientPrefundError'), refused.message)
    })

    test('a paymaster’s signature by somebody else is refused as the paymaster’s', async () => {
      const paymaster = verifyingPaymaster(version, { signerKey: generatePrivateKey() })
      const refused = await rejectionOf(bundler.sendUserOperation({ calls: [count], paymaster }))
      assert.equal(codeOf(refused), -32501)
      assert.ok(named(refused, 'UserOperationPaymasterSignatureError'), refused.message)
    })

    test('a paymaster’s expired promise is out of its time range', async () => {
      const paymaster = verifyingPaymaster(version, { validUntil: 1_000_000 })
      const refused = await rejectionOf(bundler.sendUserOperation({ calls: [count], paymaster }))
      assert.equal(codeOf(refused), -32503)
    })

    test('nothing is left behind in the pool', async () => {
      assert.deepEqual(await bundler.request({ method: 'debug_bundler_dumpMempool', params: [entryPoint] }), [])
    })
  })
}

// gasOf returns the gas limits of a plain call, for operations that an estimate would refuse; with room for some more
// calldata than that call's.
async function gasOf(bundler) {
  const { callGasLimit, verificationGasLimit, preVerificationGas } = await bundler.estimateUserOperationGas({ calls: [count] })
  return { callGasLimit, verificationGasLimit, preVerificationGas: preVerificationGas + 10_000n }
}

// usedNonce mines an operation of key 7 and returns its nonce.
async function usedNonce(account) {
  const bundler = bundlerClient({ account })
  const nonce = await account.getNonce({ key: 7n })
  const hash = await bundler.sendUserOperation({ calls: [count], nonce })
  await bundler.waitForUserOperationReceipt({ hash, timeout: 30_000 })
  return nonce
}
