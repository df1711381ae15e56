// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Steps} from "./Steps.sol";

/// A user operation as the EntryPoint v0.6 passes it (ERC-4337, "EntryPoint interface").
struct UserOperation {
    address sender;
    uint256 nonce;
    bytes initCode;
    bytes callData;
    uint256 callGasLimit;
    uint256 verificationGasLimit;
    uint256 preVerificationGas;
    uint256 maxFeePerGas;
    uint256 maxPriorityFeePerGas;
    bytes paymasterAndData;
    bytes signature;
}

/// A user operation as the EntryPoint v0.7 and later passes it.
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

/// @title RuleEntity: what account, factory and paymaster have in common. For tests only: anyone may use it.
abstract contract RuleEntity is Steps {
    receive() external payable {}

    function run(bytes calldata program) external payable {
        _run(program);
    }
}

/// @title RuleAccount: an account of every EntryPoint version whose signature is the steps of its validation.
contract RuleAccount is RuleEntity {
    function validateUserOp(UserOperation calldata op, bytes32, uint256 missing) external returns (uint256) {
        return _validate(op.signature, missing);
    }

    function validateUserOp(PackedUserOperation calldata op, bytes32, uint256 missing) external returns (uint256) {
        return _validate(op.signature, missing);
    }

    function _validate(bytes calldata program, uint256 missing) private returns (uint256) {
        uint256 answer = _run(program);
        if (missing > 0) {
            (bool paid,) = msg.sender.call{value: missing}("");
            require(paid);
        }
        return answer > type(uint64).max ? answer : 0; // an aggregator's address, not a context's length
    }
}

/// @title RuleFactory: runs steps, creates an account, runs more steps.
contract RuleFactory is RuleEntity {
    /// The account's address does not depend on the steps.
    function create(bytes calldata before, bytes calldata afterwards) external returns (address account) {
        _run(before);
        account = address(new RuleAccount{salt: 0}());
        _run(afterwards);
    }

    /// Creates the account by CREATE, with the nonce of this contract.
    function createByNonce() external returns (address) {
        return address(new RuleAccount());
    }

    /// Has the account created by another contract: a RuleFactory's create.
    function createBy(RuleFactory utility) external returns (address) {
        return utility.create("", "");
    }
}

/// @title RulePaymaster: pays for everything; its data are the steps of its validation.
contract RulePaymaster is RuleEntity {
    function validatePaymasterUserOp(UserOperation calldata op, bytes32, uint256)
        external
        returns (bytes memory context, uint256 validationData)
    {
        return (new bytes(_run(op.paymasterAndData[20:])), 0);
    }

    function validatePaymasterUserOp(PackedUserOperation calldata op, bytes32, uint256)
        external
        returns (bytes memory context, uint256 validationData)
    {
        return (new bytes(_run(op.paymasterAndData[52:])), 0);
    }

    function postOp(uint8, bytes calldata, uint256) external {}

    function postOp(uint8, bytes calldata, uint256, uint256) external {}
}

/// @title RuleAggregator: finds every signature right.
contract RuleAggregator is RuleEntity {
    fallback() external payable {}
}
