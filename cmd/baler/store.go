package main

import (
	"context"

	"baler/chain"
	"baler/store"
)

// storeSettings say where what must survive the process is kept.
type storeSettings struct {
	Store   string `help:"embedded: operations, journals and history survive a crash; memory: nothing is kept." enum:"embedded,memory" default:"embedded"`
	DataDir string `help:"Directory of the embedded store." default:"baler-data" placeholder:"DIR"`
}

// open opens the store for the node's chain; nil if nothing is to be kept.
func (s storeSettings) open(ctx context.Context, client *chain.Client) (*store.Store, error) {
	if s.Store == "memory" {
		return nil, nil
	}
	chainID, err := client.ChainID(ctx)
	if err != nil {
		return nil, badSetting("--node_http: %w", err)
	}
	genesis, err := client.Genesis(ctx)
	if err != nil {
		return nil, badSetting("--node_http: %w", err)
	}
	opened, err := store.Open(s.DataDir, store.Meta{ChainID: chainID, Fingerprint: genesis}, store.Options{})
	if err != nil {
		return nil, badSetting("--data_dir: %w", err)
	}
	return opened, nil
}
