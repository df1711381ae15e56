// SimpleAccount (eth-infinitism) for EntryPoint 0.6 to 0.9 as a viem smart account: viem itself ships none.
import { decodeFunctionData, encodeFunctionData, parseAbi } from 'viem'
import {
  entryPoint06Abi,
  entryPoint07Abi,
  entryPoint08Abi,
  entryPoint09Abi,
  getUserOperationHash,
  toSmartAccount,
} from 'viem/account-abstraction'
import { chain, contracts, node } from './stack.mjs'

const factoryAbi = parseAbi([
  'function createAccount(address owner, uint256 salt) returns (address)',
  'function getAddress(address owner, uint256 salt) view returns (address)',
])
const accountAbi = parseAbi(['function execute(address dest, uint256 value, bytes func)'])
const entryPointAbis = { 0.6: entryPoint06Abi, 0.7: entryPoint07Abi, 0.8: entryPoint08Abi, 0.9: entryPoint09Abi }

export const entryPointOf = (version) => ({
  abi: entryPointAbis[version],
  address: contracts.entry_points[version],
  version,
})

// A signature of the right length and form that recovers to nobody we know: for estimates.
export const dummySignature =
  '0xfffffffffffffffffffffffffffffff0000000000000000000000000000000007aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1c'

export async function toSimpleAccount({ version, owner, salt = 0n }) {
  const entryPoint = entryPointOf(version)
  const factory = contracts.account_factories[version]
  const address = await node.readContract({
    address: factory,
    abi: factoryAbi,
    functionName: 'getAddress',
    args: [owner.address, salt],
  })
  return toSmartAccount({
    client: node,
    entryPoint,
    getAddress: async () => address,
    getFactoryArgs: async () => ({
      factory,
      factoryData: encodeFunctionData({ abi: factoryAbi, functionName: 'createAccount', args: [owner.address, salt] }),
    }),
    encodeCalls: async ([call, ...rest]) => {
      if (rest.length > 0) throw new Error('one call per operation')
      return encodeFunctionData({
        abi: accountAbi,
        functionName: 'execute',
        args: [call.to, call.value ?? 0n, call.data ?? '0x'],
      })
    },
    decodeCalls: async (data) => {
      const { args } = decodeFunctionData({ abi: accountAbi, data })
      return [{ to: args[0], value: args[1], data: args[2] }]
    },
    getStubSignature: async () => dummySignature,
    signMessage: async () => {
      throw new Error('SimpleAccount knows no EIP-1271')
    },
    signTypedData: async () => {
      throw new Error('SimpleAccount knows no EIP-1271')
    },
    // 0.6 and 0.7 sign the hash as an EIP-191 message; since 0.8 the hash is EIP-712 already and signed as it is.
    signUserOperation: async ({ chainId = chain.id, ...userOperation }) => {
      const hash = getUserOperationHash({
        chainId,
        entryPointAddress: entryPoint.address,
        entryPointVersion: version,
        userOperation: { ...userOperation, sender: address },
      })
      if (version === '0.6' || version === '0.7') return owner.signMessage({ message: { raw: hash } })
      return owner.sign({ hash })
    },
  })
}
