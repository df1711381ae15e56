// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title BN254: what BLS signatures need of the curve of EIP-196 and EIP-197.
/// @notice Signatures are in G1 (64 bytes, x and y), public keys in G2 (128 bytes, imaginary parts first, as EIP-197
/// encodes them). Hashing to G1 is the suite BN254G1_XMD:SHA-256_SVDW_RO_ of RFC 9380.
library BN254 {
    /// The field's modulus, 3 mod 4.
    uint256 internal constant P = 0x30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47;

    /// RFC 9380, "Domain separation requirements": this use of the suite and no other.
    bytes private constant DST = "BALER-ERC7766-V01-with-BN254G1_XMD:SHA-256_SVDW_RO_";

    // The constants of the Shallue-van de Woestijne map (RFC 9380, section 6.6.1) for y² = x³ + 3 and Z = 1:
    // c1 = g(Z) = 4, c2 = -Z/2, c3 = sqrt(-g(Z)(3Z²)), c4 = -4 g(Z)/(3Z²).
    uint256 private constant C2 = 0x183227397098d014dc2822db40c0ac2ecbc0b548b438e5469e10460b6c3e7ea3;
    uint256 private constant C3 = 0x16789af3a83522eb353c98fc6b36d713d5d8d1cc5dffffffa;
    uint256 private constant C4 = 0x10216f7ba065e00de81ac1e7808072c9dd2b2385cd7b438469602eb24829a9bd;

    /// (P + 1) / 4: a square's root is its power to this.
    uint256 private constant ROOT = 0xc19139cb84c680a6e14116da060561765e05aa45a1c72a34f082305b61f3f52;

    // The negated generator of G2.
    uint256 private constant NEG_G2_X_IM = 0x198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2;
    uint256 private constant NEG_G2_X_RE = 0x1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed;
    uint256 private constant NEG_G2_Y_IM = 0x275dc4a288d1afb3cbb1ac09187524c7db36395df7be3b99e673b13a075a65ec;
    uint256 private constant NEG_G2_Y_RE = 0x1d9befcd05a5323e6da4d435f3b617cdb3af83285c2df711ef39c01571827f9d;

    /// A coordinate or point outside of the curve.
    error InvalidPoint();

    /// Reports whether the point is on the curve; the point at infinity, (0, 0), is not.
    function isOnCurve(uint256 x, uint256 y) internal pure returns (bool) {
        return x < P && y < P && mulmod(y, y, P) == _g(x);
    }

    /// The sum of two points, each on the curve or at infinity (EIP-196).
    function add(uint256 ax, uint256 ay, uint256 bx, uint256 by) internal view returns (uint256 x, uint256 y) {
        bool ok;
        assembly ("memory-safe") {
            let m := mload(0x40)
            mstore(m, ax)
            mstore(add(m, 0x20), ay)
            mstore(add(m, 0x40), bx)
            mstore(add(m, 0x60), by)
            ok := staticcall(gas(), 6, m, 0x80, m, 0x40)
            x := mload(m)
            y := mload(add(m, 0x20))
        }
        require(ok, InvalidPoint());
    }

    /// Room for a product of n pairings and the one of the signature: 6 words each.
    function pairingInput(uint256 n) internal pure returns (uint256[] memory) {
        return new uint256[](6 * (n + 1));
    }

    /// Puts the pair (hash of the message, key) at place i of the input.
    function setPair(uint256[] memory input, uint256 i, bytes32 message, uint256[4] memory key) internal view {
        (uint256 x, uint256 y) = hashToG1(message);
        uint256 at = 6 * i;
        input[at] = x;
        input[at + 1] = y;
        input[at + 2] = key[0];
        input[at + 3] = key[1];
        input[at + 4] = key[2];
        input[at + 5] = key[3];
    }

    /// Reports whether the signature is the sum of what the keys in the input signed: Π e(H(mᵢ), keyᵢ) · e(s, -G2) = 1.
    /// The last pair of the input is filled in here. A key outside of the group makes the precompile fail: false.
    function verifyPairs(uint256[] memory input, uint256 x, uint256 y) internal view returns (bool) {
        uint256 at = input.length - 6;
        input[at] = x;
        input[at + 1] = y;
        input[at + 2] = NEG_G2_X_IM;
        input[at + 3] = NEG_G2_X_RE;
        input[at + 4] = NEG_G2_Y_IM;
        input[at + 5] = NEG_G2_Y_RE;
        bool ok;
        uint256 one;
        assembly ("memory-safe") {
            ok := staticcall(gas(), 8, add(input, 0x20), mul(mload(input), 0x20), 0, 0x20)
            one := mload(0)
        }
        return ok && one == 1;
    }

    /// hash_to_curve of RFC 9380, section 3, for a message of 32 bytes.
    function hashToG1(bytes32 message) internal view returns (uint256, uint256) {
        (uint256 u0, uint256 u1) = _hashToField(message);
        (uint256 i0, uint256 i1) = _inverses(_denominator(u0), _denominator(u1));
        (uint256 x0, uint256 y0) = _map(u0, i0);
        (uint256 x1, uint256 y1) = _map(u1, i1);
        return add(x0, y0, x1, y1);
    }

    /// hash_to_field of RFC 9380, section 5.2: two elements of 48 bytes each from expand_message_xmd (section 5.3.1).
    function _hashToField(bytes32 message) private pure returns (uint256 u0, uint256 u1) {
        bytes memory suffix = abi.encodePacked(DST, uint8(DST.length));
        bytes32 b0 = sha256(abi.encodePacked(bytes32(0), bytes32(0), message, uint16(96), uint8(0), suffix));
        bytes32 b1 = sha256(abi.encodePacked(b0, uint8(1), suffix));
        bytes32 b2 = sha256(abi.encodePacked(b0 ^ b1, uint8(2), suffix));
        bytes32 b3 = sha256(abi.encodePacked(b0 ^ b2, uint8(3), suffix));
        uint256 middle = uint256(b2);
        uint256 last = uint256(b3);
        u0 = _reduce(uint256(b1), middle >> 128);
        u1 = _reduce((middle << 128) | (last >> 128), last & type(uint128).max);
    }

    /// high · 2^128 + low, modulo P.
    function _reduce(uint256 high, uint256 low) private pure returns (uint256) {
        return addmod(mulmod(high, 1 << 128, P), low, P);
    }

    /// (1 - 4u²)(1 + 4u²), what the map inverts.
    function _denominator(uint256 u) private pure returns (uint256) {
        uint256 t = mulmod(4, mulmod(u, u, P), P);
        return mulmod(addmod(1, P - t, P), addmod(1, t, P), P);
    }

    /// The inverses of both by one exponentiation; that of zero is zero (inv0).
    function _inverses(uint256 a, uint256 b) private view returns (uint256, uint256) {
        if (a == 0 || b == 0) {
            return (_power(a, P - 2), _power(b, P - 2));
        }
        uint256 both = _power(mulmod(a, b, P), P - 2);
        return (mulmod(both, b, P), mulmod(both, a, P));
    }

    /// map_to_curve_svdw (RFC 9380, section F.1) with the inverse worked out. A root is tried where the RFC asks whether
    /// there is one: that costs the same.
    function _map(uint256 u, uint256 inverse) private view returns (uint256 x, uint256 y) {
        uint256 t = mulmod(4, mulmod(u, u, P), P);
        uint256 w = mulmod(mulmod(mulmod(u, addmod(1, P - t, P), P), inverse, P), C3, P);
        bool square;
        x = addmod(C2, P - w, P);
        (y, square) = _root(_g(x));
        if (!square) {
            x = addmod(C2, w, P);
            (y, square) = _root(_g(x));
        }
        if (!square) {
            x = addmod(1, t, P);
            x = mulmod(mulmod(x, x, P), inverse, P);
            x = addmod(mulmod(mulmod(x, x, P), C4, P), 1, P);
            (y, square) = _root(_g(x));
        }
        if ((u ^ y) & 1 == 1) {
            y = P - y;
        }
    }

    /// x³ + 3, the right side of the curve's equation.
    function _g(uint256 x) private pure returns (uint256) {
        return addmod(mulmod(mulmod(x, x, P), x, P), 3, P);
    }

    /// A square root of a, if it has one.
    function _root(uint256 a) private view returns (uint256 root, bool square) {
        root = _power(a, ROOT);
        square = mulmod(root, root, P) == a;
    }

    /// base^exponent modulo P (EIP-198).
    function _power(uint256 base, uint256 exponent) private view returns (uint256 result) {
        assembly ("memory-safe") {
            let m := mload(0x40)
            mstore(m, 0x20)
            mstore(add(m, 0x20), 0x20)
            mstore(add(m, 0x40), 0x20)
            mstore(add(m, 0x60), base)
            mstore(add(m, 0x80), exponent)
            mstore(add(m, 0xa0), P)
            if iszero(staticcall(gas(), 5, m, 0xc0, 0, 0x20)) { revert(0, 0) }
            result := mload(0)
        }
    }
}
