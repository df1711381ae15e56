// Accounts by EIP-7702: an externally owned account delegates to Simple7702Account with its first operation.
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { createSmartAccountClient } from 'permissionless'
import { to7702SimpleSmartAccount } from 'permissionless/accounts'
import { concat, http, isAddressEqual, parseEther } from 'viem'
import { toSimple7702SmartAccount } from 'viem/account-abstraction'
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts'
import { verifyingPaymaster } from './paymaster.mjs'
import { bundlerClient, chain, codeOf, contracts, count, counted, fund, funder, node, ready, rejectionOf } from './stack.mjs'

const wallet = funder(2)
const options = { timeout: 60_000 }

const authorize = async (owner, implementation) =>
  owner.signAuthorization({
    chainId: chain.id,
    address: implementation,
    nonce: await node.getTransactionCount({ address: owner.address }),
  })

const assertDelegated = async (address, implementation) =>
  assert.equal((await node.getCode({ address }))?.toLowerCase(), concat(['0xef0100', implementation]).toLowerCase())

for (const version of ['0.8', '0.9']) {
  describe(`viem, EIP-7702, EntryPoint ${version}`, options, () => {
    const implementation = contracts.simple_7702_accounts[version]
    const newAccount = async () => {
      const owner = privateKeyToAccount(generatePrivateKey())
      return { owner, account: await toSimple7702SmartAccount({ client: node, owner, entryPoint: version, implementation }) }
    }
    let owner
    let account
    let bundler

    before(async () => {
      ;({ owner, account } = await newAccount())
      bundler = bundlerClient({ account })
      await fund(wallet, owner.address, parseEther('1'))
    })

    test('estimates with a stub authorization, before anything is signed', async () => {
      const gas = await bundler.estimateUserOperationGas({ calls: [count] })
      assert.ok(gas.callGasLimit > 0n && gas.verificationGasLimit > 0n && gas.preVerificationGas > 0n)
    })

    test('an authorization signed by somebody else is refused', async () => {
      const authorization = await authorize(privateKeyToAccount(generatePrivateKey()), implementation)
      const refused = await rejectionOf(
        bundler.sendUserOperation({
          calls: [count],
          authorization,
          callGasLimit: 100_000n,
          verificationGasLimit: 150_000n,
          preVerificationGas: 150_000n,
        }),
      )
      assert.ok([-32602, -32500].includes(codeOf(refused)), refused.message)
    })

    test('the first operation delegates and calls', async () => {
      const authorization = await authorize(owner, implementation)
      const hash = await bundler.sendUserOperation({ calls: [count], authorization })
      const receipt = await bundler.waitForUserOperationReceipt({ hash, timeout: 30_000 })
      assert.equal(receipt.success, true)
      assert.ok(isAddressEqual(receipt.sender, owner.address))
      await assertDelegated(owner.address, implementation)
      assert.equal(await counted(owner.address), 1n)
    })

    test('the next operation carries no authorization', async () => {
      const hash = await bundler.sendUserOperation({ calls: [count, count] })
      const receipt = await bundler.waitForUserOperationReceipt({ hash, timeout: 30_000 })
      assert.equal(receipt.success, true)
      assert.equal(await counted(owner.address), 3n)
    })

    test('delegates and calls sponsored, owning nothing', async () => {
      const poor = await newAccount()
      const paymaster = verifyingPaymaster(version)
      const sponsored = bundlerClient({ account: poor.account, paymaster })
      const authorization = await authorize(poor.owner, implementation)
      const hash = await sponsored.sendUserOperation({ calls: [count], authorization })
      const receipt = await sponsored.waitForUserOperationReceipt({ hash, timeout: 30_000 })
      assert.equal(receipt.success, true)
      assert.ok(isAddressEqual(receipt.paymaster, paymaster.address))
      await assertDelegated(poor.owner.address, implementation)
      assert.equal(await node.getBalance({ address: poor.owner.address }), 0n)
    })
  })
}

describe('permissionless.js, EIP-7702, EntryPoint 0.8', options, () => {
  test('delegates, calls, and calls again', async () => {
    const implementation = contracts.simple_7702_accounts['0.8']
    const owner = privateKeyToAccount(generatePrivateKey())
    await fund(wallet, owner.address, parseEther('1'))
    const account = await to7702SimpleSmartAccount({ client: node, owner, accountLogicAddress: implementation })
    const client = createSmartAccountClient({
      account,
      chain,
      client: node,
      bundlerTransport: http(ready.bundler_url),
      pollingInterval: 100,
    })
    // It sends eip7702Auth without the 0x7702 factory marker.
    await client.sendTransaction({ calls: [count], authorization: await authorize(owner, implementation) })
    await assertDelegated(owner.address, implementation)
    assert.equal(await counted(owner.address), 1n)
    await client.sendTransaction({ calls: [count] })
    assert.equal(await counted(owner.address), 2n)
  })
})
