// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {BLSAccountBase} from "./BLSAccountBase.sol";
import {BLSVerifier, IEntryPointStakes} from "./BLSVerifier.sol";
import {BN254} from "./BN254.sol";

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

/// @title BLSAggregator: checks the BLS signatures of many operations at once (ERC-7766), for EntryPoint v0.7 and later.
contract BLSAggregator is BLSVerifier {
    using BN254 for uint256[];

    constructor(IEntryPointStakes entryPoint_) BLSVerifier(entryPoint_) {}

    /// IAggregator: reverts unless the signature is the sum of all operations' signatures. The operations themselves
    /// carry none any more.
    function validateSignatures(PackedUserOperation[] calldata userOps, bytes calldata signature) external view {
        uint256[] memory input = BN254.pairingInput(userOps.length);
        for (uint256 i = 0; i < userOps.length; ++i) {
            PackedUserOperation calldata op = userOps[i];
            require(op.signature.length == 0, SignatureLeft(op.sender));
            uint256[4] memory key = _publicKey(op.sender, op.initCode);
            input.setPair(i, _message(_hash(op), key), key);
        }
        (uint256 x, uint256 y) = _point(signature);
        require(input.verifyPairs(x, y), InvalidSignature());
    }

    /// IAggregator: reverts unless the operation is signed; the signature to put in its place is empty.
    function validateUserOpSignature(PackedUserOperation calldata userOp) external view returns (bytes memory) {
        (uint256 x, uint256 y) = _point(userOp.signature);
        uint256[4] memory key = getUserOpPublicKey(userOp);
        require(_isSignedBy(key, _message(_hash(userOp), key), x, y), InvalidSignature());
        return "";
    }

    /// IAggregator: the sum of the operations' signatures.
    function aggregateSignatures(PackedUserOperation[] calldata userOps) external view returns (bytes memory) {
        uint256 sumX;
        uint256 sumY;
        for (uint256 i = 0; i < userOps.length; ++i) {
            (uint256 x, uint256 y) = _point(userOps[i].signature);
            (sumX, sumY) = BN254.add(sumX, sumY, x, y);
        }
        return abi.encode(sumX, sumY);
    }

    /// The message that the operation's signer signs.
    function getUserOpMessage(PackedUserOperation calldata userOp) external view returns (bytes32) {
        return _message(_hash(userOp), getUserOpPublicKey(userOp));
    }

    /// The key the operation must be signed with.
    function getUserOpPublicKey(PackedUserOperation calldata userOp) public view returns (uint256[4] memory) {
        return _publicKey(userOp.sender, userOp.initCode);
    }

    function _hash(PackedUserOperation calldata op) private pure returns (bytes32) {
        return keccak256(
            abi.encode(
                op.sender,
                op.nonce,
                keccak256(op.initCode),
                keccak256(op.callData),
                op.accountGasLimits,
                op.preVerificationGas,
                op.gasFees,
                keccak256(op.paymasterAndData)
            )
        );
    }
}

/// @title BLSAccount: an account with a BLS key, for EntryPoint v0.7 and later.
contract BLSAccount is BLSAccountBase {
    constructor(address entryPoint_, address aggregator_, uint256[4] memory key) BLSAccountBase(entryPoint_, aggregator_, key) {}

    /// IAccount: see BLSAccountBase.
    function validateUserOp(PackedUserOperation calldata userOp, bytes32 userOpHash, uint256 missingAccountFunds)
        external
        returns (uint256)
    {
        return _validate(userOp.initCode, userOp.signature, userOpHash, missingAccountFunds);
    }
}

/// @title BLSAccountFactory: makes BLSAccounts.
contract BLSAccountFactory {
    address public immutable entryPoint;
    address public immutable aggregator;

    constructor(address entryPoint_, address aggregator_) {
        entryPoint = entryPoint_;
        aggregator = aggregator_;
    }

    /// Makes the account of the key, unless it is there. The key is the last argument because the aggregator reads it from
    /// the end of an operation's initCode.
    function createAccount(uint256 salt, uint256[4] memory key) external returns (address account) {
        account = getAddress(salt, key);
        if (account.code.length == 0) {
            new BLSAccount{salt: bytes32(salt)}(entryPoint, aggregator, key);
        }
    }

    /// Where createAccount puts it (EIP-1014).
    function getAddress(uint256 salt, uint256[4] memory key) public view returns (address) {
        bytes32 code = keccak256(
            abi.encodePacked(type(BLSAccount).creationCode, abi.encode(entryPoint, aggregator, key))
        );
        return address(uint160(uint256(keccak256(abi.encodePacked(bytes1(0xff), address(this), bytes32(salt), code)))));
    }
}
