package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
)

// explainCommand tells an operation's whole story.
type explainCommand struct {
	Hash string `arg:"" help:"Hash of the user operation." placeholder:"HASH"`
	URL  string `help:"URL of the bundler's JSON-RPC." default:"http://127.0.0.1:3000"`
	JSON bool   `help:"Print the answer of baler_explainUserOperation as it is." name:"json"`
}

// explanation is the answer of baler_explainUserOperation.
type explanation struct {
	Status struct {
		Status          string       `json:"status"`
		TransactionHash *common.Hash `json:"transactionHash"`
		Reason          *string      `json:"reason"`
	} `json:"status"`
	Timeline []struct {
		At              int64          `json:"at"`
		Block           hexutil.Uint64 `json:"blockNumber"`
		Event           string         `json:"event"`
		Reason          string         `json:"reason"`
		Cause           string         `json:"cause"`
		TransactionHash *common.Hash   `json:"transactionHash"`
		Times           int            `json:"times"`
		LastBlock       hexutil.Uint64 `json:"lastBlockNumber"`
	} `json:"timeline"`
	Expected *struct {
		BaseFee        *hexutil.Big    `json:"baseFee"`
		HighestBaseFee *hexutil.Big    `json:"highestBaseFee"`
		EarliestBlock  *hexutil.Uint64 `json:"earliestBlock"`
		Block          hexutil.Uint64  `json:"blockNumber"`
		PayingMore     hexutil.Uint64  `json:"payingMore"`
		Waits          []string        `json:"waits"`
	} `json:"expected"`
}

// Run asks the bundler and prints the answer.
func (c *explainCommand) Run(ctx context.Context, out console) error {
	hash, err := hexutil.Decode(c.Hash)
	if err != nil || len(hash) != common.HashLength {
		return badSetting("have %q, want the hash of a user operation", c.Hash)
	}
	client, err := rpc.DialContext(ctx, c.URL)
	if err != nil {
		return badSetting("--url: %w", err)
	}
	defer client.Close()
	var raw json.RawMessage
	if err := client.CallContext(ctx, &raw, "baler_explainUserOperation", common.BytesToHash(hash)); err != nil {
		return fmt.Errorf("ask the bundler: %w", err)
	}
	if c.JSON {
		fmt.Fprintln(out.out, string(raw))
		return nil
	}
	var e explanation
	if err := json.Unmarshal(raw, &e); err != nil {
		return fmt.Errorf("the bundler's answer: %w", err)
	}
	e.print(out.out)
	return nil
}

// print tells the story.
func (e *explanation) print(w io.Writer) {
	fmt.Fprintf(w, "%s", e.Status.Status)
	if e.Status.TransactionHash != nil {
		fmt.Fprintf(w, " in %s", e.Status.TransactionHash)
	}
	if e.Status.Reason != nil {
		fmt.Fprintf(w, ": %s", *e.Status.Reason)
	}
	fmt.Fprintln(w)
	for _, x := range e.Timeline {
		line := []string{time.UnixMilli(x.At).UTC().Format("2006-01-02 15:04:05.000"), fmt.Sprintf("block %d", x.Block), x.Event}
		switch {
		case x.Reason != "":
			line = append(line, x.Reason)
		case x.Cause != "":
			line = append(line, x.Cause)
		}
		if x.TransactionHash != nil {
			line = append(line, x.TransactionHash.Hex())
		}
		if x.Times > 1 {
			line = append(line, fmt.Sprintf("(%d times, last at block %d)", x.Times, x.LastBlock))
		}
		fmt.Fprintln(w, "  "+strings.Join(line, "  "))
	}
	if e.Expected == nil {
		return
	}
	x := e.Expected
	fmt.Fprintf(w, "next base fee %v wei per gas, %d operations pay more\n", x.BaseFee.ToInt(), x.PayingMore)
	switch {
	case x.HighestBaseFee == nil:
		fmt.Fprintln(w, "taken at no base fee while the priority fee stays as it is")
	case x.EarliestBlock == nil:
		fmt.Fprintf(w, "taken at a base fee of %v or less, which is not near\n", x.HighestBaseFee.ToInt())
	default:
		fmt.Fprintf(w, "taken at a base fee of %v or less: from block %d on at the earliest, the head is %d\n", x.HighestBaseFee.ToInt(), *x.EarliestBlock, x.Block)
	}
	if len(x.Waits) == 0 {
		fmt.Fprintln(w, "nothing keeps it out of the next bundle")
	}
	for _, reason := range x.Waits {
		fmt.Fprintf(w, "  waits: %s\n", reason)
	}
}
