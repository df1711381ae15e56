// permissionless.js: its smart account client and its SimpleAccount, over the EntryPoint versions it knows.
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { createSmartAccountClient } from 'permissionless'
import { toSimpleSmartAccount } from 'permissionless/accounts'
import { http, isAddressEqual, parseEther } from 'viem'
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts'
import { verifyingPaymaster } from './paymaster.mjs'
import { chain, codeOf, contracts, count, counted, counterAbi, fund, funder, named, node, ready, rejectionOf } from './stack.mjs'

const wallet = funder(1)
const options = { timeout: 60_000 }

const smartAccountClient = (account, more = {}) =>
  createSmartAccountClient({
    account,
    chain,
    client: node,
    bundlerTransport: http(ready.bundler_url),
    pollingInterval: 100,
    ...more,
  })

for (const version of ['0.6', '0.7', '0.8']) {
  describe(`permissionless.js, EntryPoint ${version}`, options, () => {
    const newAccount = () =>
      toSimpleSmartAccount({
        client: node,
        owner: privateKeyToAccount(generatePrivateKey()),
        entryPoint: { address: contracts.entry_points[version], version },
        factoryAddress: contracts.account_factories[version],
      })
    let account
    let client

    before(async () => {
      account = await newAccount()
      client = smartAccountClient(account)
      await fund(wallet, account.address, parseEther('1'))
    })

    test('sendTransaction deploys the account and returns the bundle’s transaction', async () => {
      const hash = await client.sendTransaction({ calls: [count] })
      const receipt = await node.getTransactionReceipt({ hash })
      assert.equal(receipt.status, 'success')
      assert.ok(isAddressEqual(receipt.to, contracts.entry_points[version]))
      assert.equal(await counted(account.address), 1n)
    })

    test('writeContract calls from the deployed account', async () => {
      await client.writeContract({ address: contracts.counter, abi: counterAbi, functionName: 'count' })
      assert.equal(await counted(account.address), 2n)
    })

    test('several calls in one operation', async () => {
      await client.sendTransaction({ calls: [count, count] })
      assert.equal(await counted(account.address), 4n)
    })

    test('sponsored by the paymaster', async () => {
      const poor = await newAccount()
      const paymaster = verifyingPaymaster(version)
      const sponsored = smartAccountClient(poor, { paymaster })
      const hash = await sponsored.sendUserOperation({ calls: [count] })
      const receipt = await sponsored.waitForUserOperationReceipt({ hash, timeout: 30_000 })
      assert.equal(receipt.success, true)
      assert.ok(isAddressEqual(receipt.paymaster, paymaster.address))
      assert.equal(await node.getBalance({ address: poor.address }), 0n)
    })

    test('a signature by somebody else is refused as such', async () => {
      const prepared = await client.prepareUserOperation({ calls: [count] })
      const signature = await privateKeyToAccount(generatePrivateKey()).signMessage({ message: 'not the owner' })
      const refused = await rejectionOf(client.sendUserOperation({ ...prepared, signature }))
      assert.equal(codeOf(refused), -32507)
      assert.ok(named(refused, 'UserOperationSignatureError', 'SignatureCheckFailedError'), refused.message)
    })
  })
}
