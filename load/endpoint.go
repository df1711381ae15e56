package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// endpoint is a JSON-RPC server, with a time limit on each request.
type endpoint struct {
	*rpc.Client
	timeout   time.Duration
	transport *http.Transport
}

// dial connects to a URL; connections bounds the idle HTTP connections kept, so that parallel accounts reuse them.
func dial(ctx context.Context, url string, timeout time.Duration, connections int) (*endpoint, error) {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: connections, IdleConnTimeout: time.Minute,
		ForceAttemptHTTP2: true,
	}
	client, err := rpc.DialOptions(ctx, url, rpc.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", url, err)
	}
	return &endpoint{client, timeout, transport}, nil
}

func (e *endpoint) close() {
	e.Close()
	e.transport.CloseIdleConnections()
}

func (e *endpoint) call(ctx context.Context, result any, method string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	if err := e.CallContext(ctx, result, method, args...); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

// batch sends calls of one kind, in batches that servers accept. All are sent, unless a whole batch fails; the first
// error of any call is returned.
func (e *endpoint) batch(ctx context.Context, elems []rpc.BatchElem) error {
	const most = 50
	var first error
	for len(elems) > 0 {
		part := elems[:min(most, len(elems))]
		elems = elems[len(part):]
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, e.timeout)
			defer cancel()
			return e.BatchCallContext(ctx, part)
		}()
		if err != nil {
			return fmt.Errorf("%s: %w", part[0].Method, err)
		}
		for _, elem := range part {
			if elem.Error != nil && first == nil {
				first = fmt.Errorf("%s: %w", elem.Method, elem.Error)
			}
		}
	}
	return first
}

// ethCall is the argument of eth_call.
type ethCall struct {
	To   common.Address `json:"to"`
	Data hexutil.Bytes  `json:"data"`
}

// read calls a contract at the latest block and returns the one word it answers with.
func (e *endpoint) read(ctx context.Context, to common.Address, data []byte) (common.Hash, error) {
	var answer hexutil.Bytes
	if err := e.call(ctx, &answer, "eth_call", ethCall{to, data}, "latest"); err != nil {
		return common.Hash{}, err
	}
	return oneWord(to, answer)
}

func oneWord(to common.Address, answer []byte) (common.Hash, error) {
	if len(answer) != common.HashLength {
		return common.Hash{}, fmt.Errorf("contract %s: have an answer of %d bytes, want 32", to, len(answer))
	}
	return common.Hash(answer), nil
}

// estimate is the answer of eth_estimateUserOperationGas.
type estimate struct {
	PreVerificationGas            hexutil.Uint64 `json:"preVerificationGas"`
	VerificationGasLimit          hexutil.Uint64 `json:"verificationGasLimit"`
	CallGasLimit                  hexutil.Uint64 `json:"callGasLimit"`
	PaymasterVerificationGasLimit hexutil.Uint64 `json:"paymasterVerificationGasLimit"`
	PaymasterPostOpGasLimit       hexutil.Uint64 `json:"paymasterPostOpGasLimit"`
}

// opReceipt is the part of eth_getUserOperationReceipt a load believes; the rest it reads from the node.
type opReceipt struct {
	Receipt struct {
		TransactionHash common.Hash `json:"transactionHash"`
	} `json:"receipt"`
}

// fees are EIP-1559 fees in wei per gas.
type fees struct {
	maxFee, maxPriority uint256.Int
}

// suggestFees reads the node's fees: the tip it suggests and a quarter, and twice the next base fee plus that, which
// holds for six full blocks in a row.
func (e *endpoint) suggestFees(ctx context.Context) (fees, error) {
	var (
		tip     hexutil.U256
		history struct {
			BaseFeePerGas []*hexutil.U256 `json:"baseFeePerGas"`
		}
	)
	if err := e.call(ctx, &tip, "eth_maxPriorityFeePerGas"); err != nil {
		return fees{}, err
	}
	if err := e.call(ctx, &history, "eth_feeHistory", hexutil.Uint64(1), "latest", []float64{}); err != nil {
		return fees{}, err
	}
	if len(history.BaseFeePerGas) == 0 || history.BaseFeePerGas[len(history.BaseFeePerGas)-1] == nil {
		return fees{}, errors.New("eth_feeHistory: no base fee; the chain has no EIP-1559")
	}
	next := (*uint256.Int)(history.BaseFeePerGas[len(history.BaseFeePerGas)-1])

	var f fees
	quarter := new(uint256.Int).Rsh((*uint256.Int)(&tip), 2)
	f.maxPriority.Add((*uint256.Int)(&tip), quarter)
	f.maxPriority.AddUint64(&f.maxPriority, 1) // never zero: a bundler may ask for more than the base fee
	f.maxFee.Add(new(uint256.Int).Lsh(next, 1), &f.maxPriority)
	return f, nil
}

// transactionReceipts reads the receipts of transactions from the node; missing ones are nil.
func (e *endpoint) transactionReceipts(ctx context.Context, hashes []common.Hash) ([]*types.Receipt, error) {
	receipts := make([]*types.Receipt, len(hashes))
	elems := make([]rpc.BatchElem, len(hashes))
	for i, hash := range hashes {
		elems[i] = rpc.BatchElem{Method: "eth_getTransactionReceipt", Args: []any{hash}, Result: &receipts[i]}
	}
	return receipts, e.batch(ctx, elems)
}
