// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// What this paymaster calls on its EntryPoint (v0.8 and v0.9 have the same functions).
interface IEntryPointDeposits {
    function depositTo(address account) external payable;
    function addStake(uint32 unstakeDelaySec) external payable;
    function unlockStake() external;
    function withdrawStake(address payable to) external;
    function withdrawTo(address payable to, uint256 amount) external;
    function balanceOf(address account) external view returns (uint256);
}

/// A user operation as the EntryPoint v0.7 and later passes it (ERC-4337, "EntryPoint interface").
struct PackedUserOperation {
    address sender;
    uint256 nonce;
    bytes initCode;
    bytes callData;
    bytes32 accountGasLimits;
    uint256 preVerificationGas;
    bytes32 gasFees;
    bytes paymasterAndData;
    bytes signature;
}

/// @title VerifyingPaymaster: pays for every operation that its signer has signed.
/// @notice For the development chain. The published packages carry a compiled verifying paymaster for v0.6 and v0.7
/// only; this one serves v0.8 and v0.9 and has the outer shape of the v0.7 one:
///   paymasterAndData = paymaster (20) ++ verification gas (16) ++ postOp gas (16)
///                      ++ abi.encode(uint48 validUntil, uint48 validAfter) (64) ++ signature (65)
/// The signature is an EIP-191 personal signature of getHash(userOp, validUntil, validAfter).
contract VerifyingPaymaster {
    uint256 private constant GAS_OFFSET = 20;
    uint256 private constant DATA_OFFSET = 52;
    uint256 private constant SIGNATURE_OFFSET = DATA_OFFSET + 64;
    /// Half of the curve's order: a signature with a larger s is the mirror image of another one.
    uint256 private constant HALF_N = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    IEntryPointDeposits public immutable entryPoint;
    address public immutable verifyingSigner;
    address public immutable owner;

    error OnlyEntryPoint(address caller);
    error OnlyOwner(address caller);
    error BadPaymasterData(uint256 length);

    modifier onlyOwner() {
        require(msg.sender == owner, OnlyOwner(msg.sender));
        _;
    }

    constructor(IEntryPointDeposits entryPoint_, address verifyingSigner_) {
        entryPoint = entryPoint_;
        verifyingSigner = verifyingSigner_;
        owner = msg.sender;
    }

    /// What the signer signs: every field of the operation but the signature, the chain and this contract.
    function getHash(PackedUserOperation calldata userOp, uint48 validUntil, uint48 validAfter)
        public
        view
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                userOp.sender,
                userOp.nonce,
                keccak256(userOp.initCode),
                keccak256(userOp.callData),
                userOp.accountGasLimits,
                uint256(bytes32(userOp.paymasterAndData[GAS_OFFSET:DATA_OFFSET])),
                userOp.preVerificationGas,
                userOp.gasFees,
                block.chainid,
                address(this),
                validUntil,
                validAfter
            )
        );
    }

    /// ERC-4337: a wrong signature is answered with SIG_VALIDATION_FAILED (1), not with a revert.
    function validatePaymasterUserOp(PackedUserOperation calldata userOp, bytes32, uint256)
        external
        view
        returns (bytes memory context, uint256 validationData)
    {
        require(msg.sender == address(entryPoint), OnlyEntryPoint(msg.sender));
        bytes calldata data = userOp.paymasterAndData;
        require(data.length == SIGNATURE_OFFSET + 65, BadPaymasterData(data.length));

        (uint48 validUntil, uint48 validAfter) = abi.decode(data[DATA_OFFSET:SIGNATURE_OFFSET], (uint48, uint48));
        bytes32 signed = keccak256(
            abi.encodePacked("\x19Ethereum Signed Message:\n32", getHash(userOp, validUntil, validAfter))
        );
        uint256 failed = _recover(signed, data[SIGNATURE_OFFSET:]) == verifyingSigner ? 0 : 1;
        return ("", failed | (uint256(validUntil) << 160) | (uint256(validAfter) << 208));
    }

    function deposit() external payable {
        entryPoint.depositTo{value: msg.value}(address(this));
    }

    function getDeposit() external view returns (uint256) {
        return entryPoint.balanceOf(address(this));
    }

    function withdrawTo(address payable to, uint256 amount) external onlyOwner {
        entryPoint.withdrawTo(to, amount);
    }

    function addStake(uint32 unstakeDelaySec) external payable onlyOwner {
        entryPoint.addStake{value: msg.value}(unstakeDelaySec);
    }

    function unlockStake() external onlyOwner {
        entryPoint.unlockStake();
    }

    function withdrawStake(address payable to) external onlyOwner {
        entryPoint.withdrawStake(to);
    }

    /// The signer of the hash, or the zero address, which never is the verifying signer of a useful paymaster.
    function _recover(bytes32 hash, bytes calldata signature) private pure returns (address) {
        bytes32 r = bytes32(signature[0:32]);
        bytes32 s = bytes32(signature[32:64]);
        if (uint256(s) > HALF_N) {
            return address(0);
        }
        return ecrecover(hash, uint8(signature[64]), r, s);
    }
}
