package rpc

import (
	"context"

	"baler/gas"
	"baler/rejection"

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

// Keys has one key that is drained and one that another process has.
func (f *fakeBackend) Keys(context.Context) ([]KeyStatus, error) {
	return []KeyStatus{{Key: common.Address{19: 1}, Held: true, Draining: true, Live: 1}, {Key: common.Address{19: 2}}}, nil
}

// DrainKey knows the first of them.
func (f *fakeBackend) DrainKey(_ context.Context, key common.Address) (*KeyStatus, error) {
	if key != (common.Address{19: 1}) {
		return nil, rejection.New(rejection.InvalidFields, "this process has no key %s", key)
	}
	return &KeyStatus{Key: key, Held: true, Draining: true, Live: 1}, nil
}
