// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Steps} from "./Steps.sol";

/// @title RuleTarget: a contract that is no entity. It takes money and runs steps for anyone.
contract RuleTarget is Steps {
    receive() external payable {}

    function run(bytes calldata program) external payable {
        _run(program);
    }
}
