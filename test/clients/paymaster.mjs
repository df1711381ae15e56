// The development chain's VerifyingPaymaster, as the paymaster functions viem and permissionless.js take. The signing
// service is this process: it holds the paymaster's key.
import { concat, encodeAbiParameters, pad, parseAbi } from 'viem'
import { toPackedUserOperation } from 'viem/account-abstraction'
import { privateKeyToAccount } from 'viem/accounts'
import { dummySignature } from './simple-account.mjs'
import { contracts, hex, node } from './stack.mjs'

const flat =
  '(address sender, uint256 nonce, bytes initCode, bytes callData, uint256 callGasLimit, uint256 verificationGasLimit, uint256 preVerificationGas, uint256 maxFeePerGas, uint256 maxPriorityFeePerGas, bytes paymasterAndData, bytes signature)'
const packed =
  '(address sender, uint256 nonce, bytes initCode, bytes callData, bytes32 accountGasLimits, uint256 preVerificationGas, bytes32 gasFees, bytes paymasterAndData, bytes signature)'
const getHash = (tuple) =>
  parseAbi([`function getHash(${tuple} userOp, uint48 validUntil, uint48 validAfter) view returns (bytes32)`])

const timeRange = ({ validUntil, validAfter }) =>
  encodeAbiParameters([{ type: 'uint48' }, { type: 'uint48' }], [validUntil, validAfter])

// verifyingPaymaster sponsors operations of one EntryPoint version. validUntil and validAfter are in seconds;
// signerKey replaces the paymaster's own key (for a signature the paymaster must refuse).
export function verifyingPaymaster(version, options = {}) {
  const address = contracts.paymasters[version]
  const range = { validUntil: options.validUntil ?? 0, validAfter: options.validAfter ?? 0 }
  const signer = privateKeyToAccount(hex(options.signerKey ?? contracts.paymaster_signer_key))

  const fields = (signature) => {
    const data = concat([timeRange(range), signature])
    return version === '0.6' ? { paymasterAndData: concat([address, data]) } : { paymaster: address, paymasterData: data }
  }
  return {
    address,
    getPaymasterStubData: async () => fields(dummySignature),
    getPaymasterData: async ({ chainId, entryPointAddress, context, ...op }) => {
      // A signature of the final length stands in: the v0.6 paymaster hashes the operation's calldata as it is, offsets
      // and all. The marker 0x7702 travels on chain right-padded to an address (ERC-4337).
      const unsigned = { ...op, ...fields(dummySignature), signature: '0x' }
      if (unsigned.factory === '0x7702') unsigned.factory = pad('0x7702', { dir: 'right', size: 20 })
      const hash = await node.readContract({
        address,
        abi: getHash(version === '0.6' ? flat : packed),
        functionName: 'getHash',
        args: [version === '0.6' ? unsigned : toPackedUserOperation(unsigned), range.validUntil, range.validAfter],
      })
      return fields(await signer.signMessage({ message: { raw: hash } }))
    },
  }
}
