// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {BN254} from "./BN254.sol";

/// What an aggregator calls on its EntryPoint (the same in all versions).
interface IEntryPointStakes {
    function addStake(uint32 unstakeDelaySec) external payable;
    function unlockStake() external;
    function withdrawStake(address payable to) external;
}

/// What an aggregator asks of an account.
interface IBLSAccount {
    /// The account's point of G2: x and y, imaginary parts first (EIP-197). It must never change.
    function getPublicKey() external view returns (uint256[4] memory);
}

/// @title BLSVerifier: the part of a BLS aggregator that does not depend on the shape of user operations.
/// @notice The signature of an operation is secret · H(message), the signature of a group the sum of its
/// operations' signatures. The message commits to the signer's key, so nobody can sign for others by choosing a key after
/// theirs. It has no storage.
abstract contract BLSVerifier {
    using BN254 for uint256[];

    /// The most gas an account may use to tell its key: what a proxy with the key in storage needs, and no more, because
    /// the bundler pays for it.
    uint256 private constant KEY_GAS = 20_000;
    uint256 private constant SIGNATURE_LENGTH = 64;
    uint256 private constant KEY_LENGTH = 128;

    IEntryPointStakes public immutable entryPoint;
    address public immutable owner;

    error OnlyOwner(address caller);
    error BadSignatureLength(uint256 length);
    error BadInitCodeLength(uint256 length);
    error BadKey();
    /// An operation of an aggregated group still carries a signature of its own.
    error SignatureLeft(address sender);
    error InvalidSignature();

    modifier onlyOwner() {
        require(msg.sender == owner, OnlyOwner(msg.sender));
        _;
    }

    constructor(IEntryPointStakes entryPoint_) {
        entryPoint = entryPoint_;
        owner = msg.sender;
    }

    /// Reports whether the signature (x and y of a point of G1) is the key's for the message. Anything malformed is false.
    function verify(uint256[4] memory key, bytes32 message, bytes calldata signature) external view returns (bool) {
        if (signature.length != SIGNATURE_LENGTH || _isZero(key)) {
            return false;
        }
        (uint256 x, uint256 y) = abi.decode(signature, (uint256, uint256));
        return BN254.isOnCurve(x, y) && _isSignedBy(key, message, x, y);
    }

    /// The point of G1 that a message is hashed to.
    function hashToG1(bytes32 message) external view returns (uint256 x, uint256 y) {
        return BN254.hashToG1(message);
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

    /// What the key signs for an operation: its fields but the signature, the key, and where it may be used.
    function _message(bytes32 operation, uint256[4] memory key) internal view returns (bytes32) {
        return keccak256(
            abi.encode(operation, keccak256(abi.encode(key)), address(this), block.chainid, address(entryPoint))
        );
    }

    /// The account's key. An account that is not deployed yet has it at the end of its initCode, and checks that when it
    /// is deployed.
    function _publicKey(address sender, bytes calldata initCode) internal view returns (uint256[4] memory key) {
        if (initCode.length == 0) {
            key = IBLSAccount(sender).getPublicKey{gas: KEY_GAS}();
        } else {
            require(initCode.length >= KEY_LENGTH, BadInitCodeLength(initCode.length));
            key = abi.decode(initCode[initCode.length - KEY_LENGTH:], (uint256[4]));
        }
        // The point at infinity would make every message signed.
        require(!_isZero(key), BadKey());
    }

    /// The point of a signature; it must be on the curve.
    function _point(bytes calldata signature) internal pure returns (uint256 x, uint256 y) {
        require(signature.length == SIGNATURE_LENGTH, BadSignatureLength(signature.length));
        (x, y) = abi.decode(signature, (uint256, uint256));
        require(BN254.isOnCurve(x, y), BN254.InvalidPoint());
    }

    function _isSignedBy(uint256[4] memory key, bytes32 message, uint256 x, uint256 y) internal view returns (bool) {
        uint256[] memory input = BN254.pairingInput(1);
        input.setPair(0, message, key);
        return input.verifyPairs(x, y);
    }

    function _isZero(uint256[4] memory key) private pure returns (bool) {
        return key[0] | key[1] | key[2] | key[3] == 0;
    }
}
