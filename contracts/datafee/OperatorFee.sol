// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// Stands in tests for the OP stack's L1Block since its Isthmus upgrade: what a GasPriceOracle asks it, in the slots that the
/// specification gives these values.
contract L1BlockIsthmus {
    uint64 public number; // slot 0
    uint64 public timestamp;
    uint256 public basefee; // slot 1
    bytes32 public hash;
    uint64 public sequenceNumber; // slot 3
    uint32 public blobBaseFeeScalar;
    uint32 public baseFeeScalar;
    bytes32 public batcherHash;
    uint256 public l1FeeOverhead;
    uint256 public l1FeeScalar;
    uint256 public blobBaseFee; // slot 7
    uint64 public operatorFeeConstant; // slot 8
    uint32 public operatorFeeScalar;
}

/// Stands in tests for the OP stack's GasPriceOracle since its Isthmus upgrade: prices of data, and the operator fee as the
/// specification has it, by Isthmus or by Jovian. It has no getL1Fee: that is the same as the Fjord upgrade's.
contract GasPriceOracleIsthmus {
    bool public isEcotone;
    bool public isFjord;
    bool public isIsthmus;
    bool public isJovian;

    L1BlockIsthmus private constant l1Block = L1BlockIsthmus(0x4200000000000000000000000000000000000015);

    function l1BaseFee() external view returns (uint256) {
        return l1Block.basefee();
    }

    function blobBaseFee() external view returns (uint256) {
        return l1Block.blobBaseFee();
    }

    function baseFeeScalar() external view returns (uint32) {
        return l1Block.baseFeeScalar();
    }

    function blobBaseFeeScalar() external view returns (uint32) {
        return l1Block.blobBaseFeeScalar();
    }

    function getOperatorFee(uint256 gasUsed) external view returns (uint256) {
        if (!isIsthmus) return 0;
        uint256 scaled = gasUsed * l1Block.operatorFeeScalar();
        return (isJovian ? scaled * 100 : scaled / 1e6) + l1Block.operatorFeeConstant();
    }
}
