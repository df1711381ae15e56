package main

import "baler/store"

// storeSettings say where what must survive the process is kept.
type storeSettings struct {
	Store   string `help:"embedded: operations, journals and history survive a crash; memory: nothing is kept; redis: operations and history are in Redis, one process serves the pool of the chain, and the others stand by." enum:"embedded,memory,redis" default:"embedded"`
	DataDir string `help:"Directory of the embedded store." default:"baler-data" placeholder:"DIR"`
}

// storeRedis is the store that several processes can serve, one at a time.
const storeRedis = "redis"

// open opens the store of a chain; nil if nothing is to be kept.
func (s storeSettings) open(meta store.Meta) (*store.Store, error) {
	if s.Store == "memory" {
		return nil, nil
	}
	opened, err := store.Open(s.DataDir, meta, store.Options{})
	if err != nil {
		return nil, badSetting("--data_dir: %w", err)
	}
	return opened, nil
}
