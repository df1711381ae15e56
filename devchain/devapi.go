package devchain

import (
	"context"

	"github.com/ethereum/go-ethereum/common"
)

// devAPI is the dev namespace: how somebody breaks something on purpose, over JSON-RPC. Who can reach the chain can do it: it is
// for development, and its keys are known to everybody anyway.
type devAPI struct{ chain *Chain }

// Hold is dev_hold: transactions stay in the pool, and blocks are empty, until dev_release.
func (d *devAPI) Hold(context.Context) bool {
	d.chain.Hold(nil)
	return true
}

// Release is dev_release: transactions are mined again.
func (d *devAPI) Release(context.Context) bool {
	d.chain.Release()
	return true
}

// Drop is dev_drop: the node forgets a transaction that waits in its pool, as one does under pressure.
func (d *devAPI) Drop(_ context.Context, hash common.Hash) (bool, error) {
	if err := d.chain.Drop(hash); err != nil {
		return false, err
	}
	return true, nil
}
