// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// One thing for a contract to do during validation. op is an opcode, or one of the numbers from 0x100 on in Steps.
struct Step {
    uint256 op;
    address target;
    uint256 value;
    bytes data;
}

/// @title Steps: does what it is told, opcode by opcode, in its own frame.
/// @notice The test contracts for the rules of ERC-7562 are this and an interface. With no steps none of them uses an
/// opcode, a slot or a call that a rule forbids. Opcodes that Solidity has no word for (unassigned ones, SELFDESTRUCT)
/// stand as bare code at addresses of their own: a step calls or delegatecalls them.
abstract contract Steps {
    uint256 internal constant EXTCODESIZE_ISZERO = 0x100;
    /// Calls the target with data and value gas, and does not mind if that fails.
    uint256 internal constant TRY_CALL = 0x101;
    /// SLOAD and SSTORE at keccak(target || data[0:32]) + value; TLOAD and TSTORE likewise.
    uint256 internal constant MAPPED_SLOAD = 0x102;
    uint256 internal constant MAPPED_SSTORE = 0x103;
    uint256 internal constant MAPPED_TLOAD = 0x104;
    uint256 internal constant MAPPED_TSTORE = 0x105;
    /// Hashes target || data and forgets the result.
    uint256 internal constant HASH = 0x106;
    /// The paymaster returns a context of value bytes.
    uint256 internal constant CONTEXT = 0x107;
    /// Reverts with data.
    uint256 internal constant REVERT = 0x108;
    /// Calls itself value times deep, then runs the steps in data.
    uint256 internal constant DIG = 0x109;
    /// SLOADs, TSTOREs, or hashes value times, each time another slot or preimage.
    uint256 internal constant MANY_SLOADS = 0x10a;
    uint256 internal constant MANY_TSTORES = 0x10b;
    uint256 internal constant MANY_HASHES = 0x10c;
    /// Runs the steps in data unless the slot value holds something.
    uint256 internal constant UNLESS = 0x10d;
    /// The account names the target as the aggregator of its signature.
    uint256 internal constant AGGREGATOR = 0x10e;

    error UnknownStep(uint256 op);

    /// Runs ABI-encoded steps (Step[]); no bytes are no steps. Returns the length of the context that was asked
    /// for, or the aggregator that was named.
    function _run(bytes memory program) internal returns (uint256 contextLength) {
        if (program.length == 0) {
            return 0;
        }
        Step[] memory steps = abi.decode(program, (Step[]));
        for (uint256 i = 0; i < steps.length; ++i) {
            if (steps[i].op == CONTEXT) {
                contextLength = steps[i].value;
            } else if (steps[i].op == AGGREGATOR) {
                contextLength = uint160(steps[i].target);
            } else if (steps[i].op == UNLESS) {
                contextLength = _unless(steps[i]);
            } else {
                _step(steps[i]);
            }
        }
    }

    function _unless(Step memory s) private returns (uint256) {
        uint256 slot = s.value;
        uint256 held;
        assembly ("memory-safe") {
            held := sload(slot)
        }
        return held == 0 ? _run(s.data) : 0;
    }

    /// The result keeps the optimizer from leaving out what only reads.
    function _step(Step memory s) internal returns (uint256 result) {
        if (s.op < 0x100) {
            return s.op < 0xf0 ? _opcode(s) : _call(s);
        }
        if (s.op >= MAPPED_SLOAD && s.op <= HASH) {
            return _mapped(s);
        }
        if (s.op >= MANY_SLOADS && s.op <= MANY_HASHES) {
            return _many(s);
        }
        address target = s.target;
        uint256 value = s.value;
        bytes memory data = s.data;
        if (s.op == EXTCODESIZE_ISZERO) {
            assembly ("memory-safe") {
                result := iszero(extcodesize(target))
            }
        } else if (s.op == TRY_CALL) {
            assembly ("memory-safe") {
                result := call(value, target, 0, add(data, 32), mload(data), 0, 0)
            }
        } else if (s.op == REVERT) {
            assembly ("memory-safe") {
                revert(add(data, 32), mload(data))
            }
        } else if (s.op == DIG) {
            if (value == 0) {
                return _run(data);
            }
            Step[] memory deeper = new Step[](1);
            deeper[0] = Step(DIG, address(0), value - 1, data);
            SelfRun(address(this)).run(abi.encode(deeper));
        } else {
            revert UnknownStep(s.op);
        }
    }

    function _opcode(Step memory s) private returns (uint256 result) {
        uint256 op = s.op;
        uint256 slot = s.value;
        address target = s.target;
        bytes memory data = s.data;
        assembly ("memory-safe") {
            switch op
            case 0x31 { result := balance(target) }
            case 0x32 { result := origin() }
            case 0x3a { result := gasprice() }
            case 0x3b { result := add(extcodesize(target), 1) }
            case 0x3c {
                extcodecopy(target, 0, 0, 32)
                result := mload(0)
            }
            case 0x3f { result := extcodehash(target) }
            case 0x40 { result := blockhash(1) }
            case 0x41 { result := coinbase() }
            case 0x42 { result := timestamp() }
            case 0x43 { result := number() }
            case 0x44 { result := prevrandao() }
            case 0x45 { result := gaslimit() }
            case 0x47 { result := selfbalance() }
            case 0x48 { result := basefee() }
            case 0x49 { result := blobhash(0) }
            case 0x4a { result := blobbasefee() }
            case 0x54 { result := sload(slot) }
            case 0x55 { sstore(slot, add(mload(data), 1)) }
            case 0x5a { result := add(gas(), 1) }
            case 0x5c { result := tload(slot) }
            case 0x5d { tstore(slot, add(mload(data), 1)) }
            default {
                mstore(0, op)
                revert(0, 32)
            }
        }
    }

    /// CREATE, CALL, CALLCODE, DELEGATECALL, CREATE2, STATICCALL, each with all gas, and INVALID. Failures are passed on.
    function _call(Step memory s) private returns (uint256 result) {
        uint256 op = s.op;
        uint256 value = s.value;
        address target = s.target;
        bytes memory data = s.data;
        assembly ("memory-safe") {
            let input := add(data, 32)
            let size := mload(data)
            switch op
            case 0xf0 { result := create(value, input, size) }
            case 0xf1 { result := call(gas(), target, value, input, size, 0, 0) }
            case 0xf2 { result := callcode(gas(), target, value, input, size, 0, 0) }
            case 0xf4 { result := delegatecall(gas(), target, input, size, 0, 0) }
            case 0xf5 { result := create2(value, input, size, 0) }
            case 0xfa { result := staticcall(gas(), target, input, size, 0, 0) }
            default { invalid() }
            if iszero(result) {
                returndatacopy(0, 0, returndatasize())
                revert(0, returndatasize())
            }
        }
    }

    function _mapped(Step memory s) private returns (uint256 result) {
        uint256 op = s.op;
        uint256 offset = s.value;
        bytes32 slot = keccak256(bytes.concat(bytes32(uint256(uint160(s.target))), s.data));
        assembly ("memory-safe") {
            slot := add(slot, offset)
            switch op
            case 0x102 { result := sload(slot) }
            case 0x103 { sstore(slot, 1) }
            case 0x104 { result := tload(slot) }
            case 0x105 { tstore(slot, 1) }
            default { result := slot }
        }
    }

    function _many(Step memory s) private returns (uint256 result) {
        uint256 op = s.op;
        uint256 n = s.value;
        address target = s.target;
        assembly ("memory-safe") {
            mstore(0, target)
            for { let i := 0 } lt(i, n) { i := add(i, 1) } {
                mstore(32, i)
                switch op
                case 0x10a { result := add(result, sload(add(i, 0x1000))) }
                case 0x10b { tstore(i, 1) }
                default { result := xor(result, keccak256(0, 64)) }
            }
        }
    }
}

/// What a contract calls on itself and on its helpers.
interface SelfRun {
    function run(bytes calldata program) external;
}
