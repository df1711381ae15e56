package main

import (
	"context"
	"fmt"
	"time"

	balerrpc "baler/rpc"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"
)

// drainCommand frees a key.
type drainCommand struct {
	Key string `arg:"" help:"Address of the key." placeholder:"KEY"`

	operatorSettings
}

// drainPause is the time between two looks at a key that is drained.
const drainPause = 500 * time.Millisecond

// Run asks the bundler to drain the key until it is free.
func (c *drainCommand) Run(ctx context.Context, out console) error {
	list, err := addresses("KEY", []string{c.Key})
	if err != nil {
		return err
	}
	client, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	for said := -1; ; {
		status, err := drain(ctx, client, list[0])
		switch {
		case err != nil:
			return fmt.Errorf("drain %s: %w", list[0], err)
		case !status.Held:
			printf(out.out, "%s is free\n", status.Key)
			return nil
		case said != status.Live:
			said = status.Live
			printf(out.out, "%s finishes %d transactions\n", status.Key, status.Live)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("drain %s: it goes on, %d transactions are left: %w", status.Key, status.Live, ctx.Err())
		case <-time.After(drainPause):
		}
	}
}

func drain(ctx context.Context, client *rpc.Client, key common.Address) (*balerrpc.KeyStatus, error) {
	var status balerrpc.KeyStatus
	return &status, client.CallContext(ctx, &status, "admin_drainKey", key)
}
