// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Counter: a target for user operations on the development chain.
/// @notice count() is the cheapest visible effect; fail() is an inner call that reverts with a reason.
contract Counter {
    /// How often each caller has called count().
    mapping(address => uint256) public counters;
    /// How often count() was called by anyone.
    uint256 public total;

    event Counted(address indexed caller, uint256 count);

    error Failed(string reason);

    /// Adds one to the caller's counter.
    function count() external payable {
        uint256 n = ++counters[msg.sender];
        ++total;
        emit Counted(msg.sender, n);
    }

    /// Reverts with Error(reason).
    function fail(string calldata reason) external pure {
        revert(reason);
    }

    /// Reverts with the custom error Failed(reason).
    function failCustom(string calldata reason) external pure {
        revert Failed(reason);
    }

    /// Spends about the given gas, to fill blocks.
    function burn(uint256 gasToBurn) external {
        uint256 start = gasleft();
        uint256 n;
        while (start - gasleft() < gasToBurn) {
            ++n;
        }
        counters[address(this)] = n;
    }
}
