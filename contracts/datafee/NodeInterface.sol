// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// Stands in tests for Arbitrum's NodeInterface at 0xC8, which there is no contract but the node's own answer to eth_call.
/// It has the one function that a bundler asks, as Arbitrum documents it, and charges 16 units of L1 gas for each byte and
/// for 140 more, with 10 % added: what the data itself is does not matter here.
contract NodeInterface {
    uint256 private l1BaseFee; // wei
    uint256 private l2BaseFee; // wei

    function setBaseFees(uint256 l1, uint256 l2) external {
        l1BaseFee = l1;
        l2BaseFee = l2;
    }

    function gasEstimateL1Component(address, bool, bytes calldata data)
        external
        payable
        returns (uint64 gasEstimateForL1, uint256 baseFee, uint256 l1BaseFeeEstimate)
    {
        uint256 units = 16 * (data.length + 140);
        return (uint64(units * l1BaseFee * 11 / (10 * l2BaseFee)), l2BaseFee, l1BaseFee);
    }
}
