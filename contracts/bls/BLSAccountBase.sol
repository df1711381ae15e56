// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {BLSVerifier, IBLSAccount} from "./BLSVerifier.sol";

/// @title BLSAccountBase: an account whose operations are signed with a BLS key over BN254.
/// @notice For the development chain. Its key is in its code and cannot change: an aggregator must be able to trust what
/// it was told. An operation is signed in one of two ways:
///   - 64 bytes, or nothing any more in a bundle: the aggregator checks the signature, with those of other operations;
///   - 65 bytes, 0x01 and the signature of the userOpHash: the account has it checked alone, for a bundler that serves no
///     aggregator.
abstract contract BLSAccountBase is IBLSAccount {
    uint256 private constant OWN_LENGTH = 65;
    bytes1 private constant OWN_MARK = 0x01;
    uint256 private constant KEY_LENGTH = 128;
    uint256 private constant SIG_VALIDATION_FAILED = 1;

    address public immutable entryPoint;
    address public immutable aggregator;
    uint256 private immutable xIm;
    uint256 private immutable xRe;
    uint256 private immutable yIm;
    uint256 private immutable yRe;

    error OnlyEntryPoint(address caller);
    /// The initCode does not end with this account's key, so the aggregator has checked another one.
    error WrongKey();

    constructor(address entryPoint_, address aggregator_, uint256[4] memory key) {
        entryPoint = entryPoint_;
        aggregator = aggregator_;
        (xIm, xRe, yIm, yRe) = (key[0], key[1], key[2], key[3]);
    }

    receive() external payable {}

    /// Calls a contract. If that reverts, so does this, with the same data.
    function execute(address dest, uint256 value, bytes calldata func) external {
        require(msg.sender == entryPoint, OnlyEntryPoint(msg.sender));
        (bool success, bytes memory result) = dest.call{value: value}(func);
        if (!success) {
            assembly ("memory-safe") {
                revert(add(result, 0x20), mload(result))
            }
        }
    }

    function getPublicKey() public view returns (uint256[4] memory) {
        return [xIm, xRe, yIm, yRe];
    }

    /// The work of validateUserOp (ERC-4337): the aggregator's address, or 0 or 1 for a signature checked alone.
    function _validate(bytes calldata initCode, bytes calldata signature, bytes32 userOpHash, uint256 missingAccountFunds)
        internal
        returns (uint256 validationData)
    {
        require(msg.sender == entryPoint, OnlyEntryPoint(msg.sender));
        if (initCode.length != 0) {
            bytes32 told = keccak256(initCode[initCode.length - KEY_LENGTH:]);
            require(told == keccak256(abi.encode(getPublicKey())), WrongKey());
        }
        validationData = uint160(aggregator);
        if (signature.length == OWN_LENGTH && signature[0] == OWN_MARK) {
            bool valid = BLSVerifier(aggregator).verify(getPublicKey(), userOpHash, signature[1:]);
            validationData = valid ? 0 : SIG_VALIDATION_FAILED;
        }
        if (missingAccountFunds != 0) {
            // The EntryPoint checks what it got.
            (bool paid,) = payable(msg.sender).call{value: missingAccountFunds}("");
            (paid);
        }
    }
}
