package signer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"
)

// The methods of remote signers.
const (
	MethodWeb3Signer = "eth_signTransaction"     // Web3Signer, and nodes with unlocked accounts
	MethodClef       = "account_signTransaction" // Clef
)

// Remote is keys that another program holds and signs with: Web3Signer, Clef, or one that speaks as these do.
type Remote struct {
	URL           Secret // http or https, or the path of a Unix socket
	Addresses     []common.Address
	Method        string        // empty: MethodWeb3Signer
	Authorization Secret        // value of that header, over HTTP
	Timeout       time.Duration // for one signature; 0: 10 s
}

func (r Remote) given() bool { return r.URL != "" }

// ErrRemote says that a remote signer failed.
var ErrRemote = errors.New("remote signer")

// remoteKey is a [Signer] over one account of a remote signer.
type remoteKey struct {
	client  *rpc.Client
	config  Remote
	address common.Address
}

// open connects, and asks a Web3Signer whether it has the accounts. Clef is not asked: it would ask a person each time.
func (r Remote) open(ctx context.Context) ([]Signer, error) {
	if r.Timeout <= 0 {
		r.Timeout = 10 * time.Second
	}
	switch r.Method {
	case "":
		r.Method = MethodWeb3Signer
	case MethodWeb3Signer, MethodClef:
	default:
		return nil, &SettingError{SettingRemoteMethod, fmt.Sprintf("%q", r.Method), fmt.Errorf("want %s or %s", MethodWeb3Signer, MethodClef)}
	}
	if len(r.Addresses) == 0 {
		return nil, &SettingError{SettingRemoteAddresses, "", errors.New("none is given, want the accounts to sign for")}
	}
	client, err := r.dial(ctx)
	if err != nil {
		return nil, err
	}
	if r.Method == MethodWeb3Signer {
		if err := r.check(ctx, client); err != nil {
			client.Close()
			return nil, err
		}
	}
	signers := make([]Signer, 0, len(r.Addresses))
	for _, address := range r.Addresses {
		signers = append(signers, &remoteKey{client: client, config: r, address: address})
	}
	return signers, nil
}

func (r Remote) dial(ctx context.Context) (*rpc.Client, error) {
	parsed, err := url.Parse(string(r.URL))
	reachable := err == nil && ((parsed.Scheme == "http" || parsed.Scheme == "https") && parsed.Host != "" || filepath.IsAbs(string(r.URL)))
	if !reachable {
		return nil, &SettingError{SettingRemoteURL, "", errors.New("unreadable, want http:// or https:// and a host, or the path of a socket")}
	}
	options := []rpc.ClientOption{rpc.WithHTTPClient(&http.Client{
		Timeout: r.Timeout,
		// A redirected request would ask somebody else to sign, with our credentials.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})}
	if r.Authorization != "" {
		options = append(options, rpc.WithHeader("Authorization", string(r.Authorization)))
	}
	client, err := rpc.DialOptions(ctx, string(r.URL), options...)
	if err != nil {
		return nil, &SettingError{SettingRemoteURL, "", cleanRemote(err)}
	}
	return client, nil
}

// check asks which accounts the remote signer has. One that does not say is believed.
func (r Remote) check(ctx context.Context, client *rpc.Client) error {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	var accounts []common.Address
	err := client.CallContext(ctx, &accounts, "eth_accounts")
	if _, answered := errors.AsType[rpc.Error](err); answered {
		return nil
	}
	if err != nil {
		return &SettingError{SettingRemoteURL, "", cleanRemote(err)}
	}
	for _, address := range r.Addresses {
		if !slices.Contains(accounts, address) {
			return &SettingError{SettingRemoteAddresses, address.Hex(), errors.New("the remote signer does not have this account")}
		}
	}
	return nil
}

// Address implements [Signer].
func (k *remoteKey) Address() common.Address { return k.address }

// String prints the address.
func (k *remoteKey) String() string { return k.address.Hex() }

// SignTx implements [Signer]. What comes back must be the transaction asked for: a remote signer's rules or a person at
// Clef may change it, and what the bundle sender did not decide must not leave.
func (k *remoteKey) SignTx(ctx context.Context, tx *types.Transaction, chainID *big.Int) (*types.Transaction, error) {
	began := time.Now()
	signed, err := signDigest(tx, chainID, k.address, func(common.Hash) ([]byte, error) { return k.sign(ctx, tx, chainID) })
	call := Call{Signer: k.address, Kind: KindRemote, Took: time.Since(began), Attempts: 1}
	if err != nil {
		call.Failure = remoteFailure(err)
	}
	tell(ctx, call)
	return signed, err
}

// sign returns the signature of the transaction that the remote signer has made.
func (k *remoteKey) sign(ctx context.Context, tx *types.Transaction, chainID *big.Int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, k.config.Timeout)
	defer cancel()
	var answer json.RawMessage
	if err := k.client.CallContext(ctx, &answer, k.config.Method, remoteArguments(k.address, tx, chainID)); err != nil {
		return nil, cleanRemote(err)
	}
	signed, err := signedAnswer(answer)
	if err != nil {
		return nil, err
	}
	if signed.Type() != tx.Type() {
		return nil, fmt.Errorf("%w: it has signed a transaction of type %d, want type %d", ErrWrongSignature, signed.Type(), tx.Type())
	}
	rules := types.LatestSignerForChainID(chainID)
	if !signed.Protected() || signed.ChainId().Cmp(chainID) != 0 || rules.Hash(signed) != rules.Hash(tx) {
		return nil, fmt.Errorf("%w: it has signed another transaction than the one it was given", ErrWrongSignature)
	}
	return signatureOf(signed, chainID)
}

// signedAnswer decodes the answer: Web3Signer's is the signed transaction's bytes, Clef's and a node's an object with them.
func signedAnswer(answer json.RawMessage) (*types.Transaction, error) {
	var raw hexutil.Bytes
	var object struct {
		Raw hexutil.Bytes `json:"raw"`
	}
	if json.Unmarshal(answer, &raw) != nil {
		if err := json.Unmarshal(answer, &object); err != nil {
			return nil, fmt.Errorf("%w: the answer is no transaction", ErrWrongSignature)
		}
		raw = object.Raw
	}
	var signed types.Transaction
	if err := signed.UnmarshalBinary(raw); err != nil {
		return nil, fmt.Errorf("%w: the answer is no transaction", ErrWrongSignature)
	}
	return &signed, nil
}

// signatureOf takes the signature out of a signed transaction, as [R || S || V] with V 0 or 1.
func signatureOf(tx *types.Transaction, chainID *big.Int) ([]byte, error) {
	v, r, s := tx.RawSignatureValues()
	parity := new(big.Int).Set(v)
	if tx.Type() == types.LegacyTxType { // EIP-155: 35 + 2 * chain id + parity
		parity.Sub(parity, big.NewInt(35))
		parity.Sub(parity, new(big.Int).Lsh(chainID, 1))
	}
	if !parity.IsUint64() || parity.Uint64() > 1 || r.BitLen() > 256 || s.BitLen() > 256 {
		return nil, fmt.Errorf("%w: a number of the signature is out of range", ErrWrongSignature)
	}
	signature := make([]byte, 65)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:64])
	signature[64] = byte(parity.Uint64())
	return signature, nil
}

// remoteArguments is a transaction as an argument of eth_signTransaction and account_signTransaction (the execution API's
// names). Calldata stands under both of its names: Web3Signer reads `data`, and Clef prefers `input`.
func remoteArguments(from common.Address, tx *types.Transaction, chainID *big.Int) map[string]any {
	arguments := map[string]any{
		"from": from, "nonce": hexutil.Uint64(tx.Nonce()), "gas": hexutil.Uint64(tx.Gas()), "value": (*hexutil.Big)(tx.Value()),
		"data": hexutil.Bytes(tx.Data()), "input": hexutil.Bytes(tx.Data()), "chainId": (*hexutil.Big)(chainID),
	}
	if to := tx.To(); to != nil {
		arguments["to"] = *to
	}
	if tx.Type() == types.LegacyTxType || tx.Type() == types.AccessListTxType {
		arguments["gasPrice"] = (*hexutil.Big)(tx.GasPrice())
	} else {
		arguments["maxFeePerGas"] = (*hexutil.Big)(tx.GasFeeCap())
		arguments["maxPriorityFeePerGas"] = (*hexutil.Big)(tx.GasTipCap())
	}
	if list := tx.AccessList(); len(list) > 0 || tx.Type() == types.AccessListTxType {
		if list == nil {
			list = types.AccessList{}
		}
		arguments["accessList"] = list
	}
	if tx.Type() == types.BlobTxType {
		arguments["maxFeePerBlobGas"] = (*hexutil.Big)(tx.BlobGasFeeCap())
		arguments["blobVersionedHashes"] = tx.BlobHashes()
	}
	if tx.Type() == types.SetCodeTxType {
		arguments["authorizationList"] = tx.SetCodeAuthorizations()
	}
	return arguments
}

// cleanRemote is an error without the URL that net/http puts into its own: it may hold credentials.
func cleanRemote(err error) error {
	if urlError, ok := errors.AsType[*url.Error](err); ok {
		err = urlError.Err
	}
	if httpError, ok := errors.AsType[rpc.HTTPError](err); ok {
		return &remoteHTTPError{httpError.StatusCode}
	}
	return fmt.Errorf("%w: %w", ErrRemote, err)
}

// remoteHTTPError is an answer with another status than 200. The body may be anything, and is not shown.
type remoteHTTPError struct{ status int }

func (e *remoteHTTPError) Error() string {
	return fmt.Sprintf("%v: HTTP status %d", ErrRemote, e.status)
}
func (e *remoteHTTPError) Unwrap() error { return ErrRemote }

// remoteFailure puts an error of a remote signer into one of the classes.
func remoteFailure(err error) Failure {
	_, answered := errors.AsType[rpc.Error](err)
	status, notOK := errors.AsType[*remoteHTTPError](err)
	switch {
	case errors.Is(err, ErrOtherChain):
		return Refused
	case errors.Is(err, ErrWrongSignature):
		return WrongAnswer
	case answered:
		return Denied
	case notOK && status.status == http.StatusTooManyRequests:
		return Throttled
	case notOK && (status.status == http.StatusUnauthorized || status.status == http.StatusForbidden):
		return Denied
	case timedOut(err):
		return TimedOut
	default:
		return Unavailable
	}
}
