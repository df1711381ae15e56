package rpc

import (
	"context"

	"baler/gas"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Senders has one sender that waits and one that has nothing to do.
func (f *fakeBackend) Senders(context.Context) ([]SenderStatus, error) {
	return []SenderStatus{
		{
			Signer: common.Address{19: 1}, State: "Pending", Since: 7, Cause: "submitted", Head: 8, Auto: true, Nonce: 3, Until: 9, Held: 1,
			Attempts: []SenderAttempt{{
				Transaction: common.Hash{31: 0xaa}, Kind: "bundle", Status: "sent", Nonce: 3, Block: 7,
				Fees: gas.Fees{MaxFee: *uint256.NewInt(20), MaxPriority: *uint256.NewInt(2)}, Operations: []common.Hash{{31: 1}},
			}},
		},
		{Signer: common.Address{19: 2}, State: "Building", Since: 1, Cause: "no operations", Head: 8, Doing: "proposal", BackingOff: true},
	}, nil
}
