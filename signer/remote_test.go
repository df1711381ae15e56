package signer

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"
	"github.com/holiman/uint256"
)

// remoteService signs as Web3Signer and Clef do: it makes the transaction anew from the arguments.
type remoteService struct {
	keys   []*ecdsa.PrivateKey
	change func(types.TxData) // what its rules do to a transaction
	refuse error
	clef   bool // knows what Clef knows
}

// setCodeArgs are Clef's own arguments with the field of EIP-7702, which Clef does not know.
type setCodeArgs struct {
	apitypes.SendTxArgs
	Authorizations []types.SetCodeAuthorization `json:"authorizationList"`
}

// SignTransaction is account_signTransaction and eth_signTransaction.
func (s *remoteService) SignTransaction(_ context.Context, raw json.RawMessage) (any, error) {
	if s.refuse != nil {
		return nil, s.refuse
	}
	var args setCodeArgs
	if err := json.Unmarshal(raw, &args.SendTxArgs); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &struct {
		A *[]types.SetCodeAuthorization `json:"authorizationList"`
	}{&args.Authorizations}); err != nil {
		return nil, err
	}
	tx, err := args.ToTransaction()
	if err != nil {
		return nil, err
	}
	var data types.TxData
	if len(args.Authorizations) > 0 && !s.clef {
		data = &types.SetCodeTx{
			ChainID: uint256.MustFromBig((*big.Int)(args.ChainID)), Nonce: tx.Nonce(), Gas: tx.Gas(), To: *tx.To(), Data: tx.Data(),
			GasFeeCap: uint256.MustFromBig(tx.GasFeeCap()), GasTipCap: uint256.MustFromBig(tx.GasTipCap()),
			Value: uint256.MustFromBig(tx.Value()), AuthList: args.Authorizations,
		}
		tx = types.NewTx(data)
	}
	if s.change != nil {
		data := &types.DynamicFeeTx{
			ChainID: tx.ChainId(), Nonce: tx.Nonce(), Gas: tx.Gas(), To: tx.To(), Data: tx.Data(), Value: tx.Value(),
			GasFeeCap: tx.GasFeeCap(), GasTipCap: tx.GasTipCap(), AccessList: tx.AccessList(),
		}
		s.change(data)
		tx = types.NewTx(data)
	}
	return s.signed(tx, args.From.Address(), (*big.Int)(args.ChainID))
}

func (s *remoteService) signed(tx *types.Transaction, from common.Address, chainID *big.Int) (any, error) {
	for _, key := range s.keys {
		if crypto.PubkeyToAddress(key.PublicKey) != from {
			continue
		}
		signed, err := types.SignTx(tx, types.LatestSignerForChainID(chainID), key)
		if err != nil {
			return nil, err
		}
		bytes, err := signed.MarshalBinary()
		if err != nil || !s.clef {
			return hexutil.Bytes(bytes), err
		}
		return map[string]any{"raw": hexutil.Bytes(bytes), "tx": signed}, nil
	}
	return nil, errors.New("no key or wallet for the address")
}

// Accounts is eth_accounts.
func (s *remoteService) Accounts() []common.Address {
	var accounts []common.Address
	for _, key := range s.keys {
		accounts = append(accounts, crypto.PubkeyToAddress(key.PublicKey))
	}
	return accounts
}

const remoteToken = "Bearer remote-signer-token"

// startRemote serves a remote signer under both names, for those who show the token.
func startRemote(t *testing.T, service *remoteService) Remote {
	t.Helper()
	for range 2 {
		key, err := crypto.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		service.keys = append(service.keys, key)
	}
	server := rpc.NewServer()
	t.Cleanup(server.Stop)
	for _, name := range []string{"eth", "account"} {
		if err := server.RegisterName(name, service); err != nil {
			t.Fatal(err)
		}
	}
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != remoteToken {
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(listener.Close)
	return Remote{URL: Secret(listener.URL + "/path-with-a-token"), Authorization: remoteToken, Addresses: service.Accounts(), Timeout: time.Minute}
}

func TestARemoteSignerSignsEveryTransactionType(t *testing.T) {
	service := &remoteService{}
	config := startRemote(t, service)
	opened(t, Config{Remote: config}, service.Accounts(), "remote-signer-token", "path-with-a-token")
}

func TestClefSignsWhatItKnowsAndIsNotTakenForMore(t *testing.T) {
	service := &remoteService{clef: true}
	config := startRemote(t, service)
	config.Method = MethodClef
	signers, err := Open(t.Context(), Config{Remote: config})
	if err != nil {
		t.Fatal(err)
	}
	for name, tx := range transactions(t) {
		signed, err := signers[1].SignTx(t.Context(), tx, testChain)
		if tx.Type() == types.SetCodeTxType { // it leaves the authorizations out, and signs the rest
			if !errors.Is(err, ErrWrongSignature) || !strings.Contains(err.Error(), "type 2, want type 4") {
				t.Errorf("%s: have error %v, want that it has signed another type", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		checkSigned(t, name, signers[1], tx, signed)
	}
}

func TestWhatARemoteSignerChangedIsNotSent(t *testing.T) {
	for name, change := range map[string]func(*types.DynamicFeeTx){
		"nonce":     func(tx *types.DynamicFeeTx) { tx.Nonce++ },
		"recipient": func(tx *types.DynamicFeeTx) { tx.To = &common.Address{9} },
		"fee":       func(tx *types.DynamicFeeTx) { tx.GasTipCap = new(big.Int).Add(tx.GasTipCap, big.NewInt(1)) },
		"gas":       func(tx *types.DynamicFeeTx) { tx.Gas++ },
		"value":     func(tx *types.DynamicFeeTx) { tx.Value = big.NewInt(1) },
		"data":      func(tx *types.DynamicFeeTx) { tx.Data = []byte{1} },
		"list":      func(tx *types.DynamicFeeTx) { tx.AccessList = nil },
	} {
		t.Run(name, func(t *testing.T) {
			service := &remoteService{change: func(data types.TxData) { change(data.(*types.DynamicFeeTx)) }}
			var call Call
			signers, err := Open(t.Context(), Config{Remote: startRemote(t, service)})
			if err != nil {
				t.Fatal(err)
			}
			_, err = signers[0].SignTx(WithObserver(t.Context(), func(c Call) { call = c }), transactions(t)["1559"], testChain)
			if !errors.Is(err, ErrWrongSignature) || call.Failure != WrongAnswer {
				t.Errorf("have error %v and %+v, want %v", err, call, ErrWrongSignature)
			}
		})
	}
}

func TestARemoteSignersFailuresAreToldApart(t *testing.T) {
	service := &remoteService{}
	good := startRemote(t, service)
	answers := func(status int, body string) Secret {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var request struct{ Method string }
			if err := json.NewDecoder(r.Body).Decode(&request); err == nil && request.Method == "eth_accounts" {
				_, _ = w.Write([]byte(`{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no such method"}}`))
				return
			}
			if status == 0 {
				<-r.Context().Done()
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(server.Close)
		return Secret(server.URL)
	}
	for name, test := range map[string]struct {
		url  Secret
		want Failure
	}{
		"refused by its rules": {answers(200, `{"jsonrpc":"2.0","id":2,"error":{"code":-32000,"message":"request denied"}}`), Denied},
		"no access":            {answers(403, "no"), Denied},
		"asked too often":      {answers(429, "slow"), Throttled},
		"out of order":         {answers(500, "oh"), Unavailable},
		"silent":               {answers(0, ""), TimedOut},
		"not a transaction":    {answers(200, `{"jsonrpc":"2.0","id":2,"result":"0x1234"}`), WrongAnswer},
		"a number":             {answers(200, `{"jsonrpc":"2.0","id":2,"result":7}`), WrongAnswer},
		"nothing":              {answers(200, `{"jsonrpc":"2.0","id":2,"result":null}`), WrongAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := good
			config.URL = test.url
			if test.want == TimedOut {
				config.Timeout = 100 * time.Millisecond
			}
			var call Call
			signers, err := Open(t.Context(), Config{Remote: config})
			if err != nil {
				t.Fatal(err)
			}
			_, err = signers[0].SignTx(WithObserver(t.Context(), func(c Call) { call = c }), transactions(t)["1559"], testChain)
			if err == nil || call.Failure != test.want || call.Kind != KindRemote {
				t.Errorf("have error %v and %+v, want %q", err, call, test.want)
			}
		})
	}
}

func TestWrongSettingsOfARemoteSignerAreRefusedAtTheStart(t *testing.T) {
	good := startRemote(t, &remoteService{})
	for name, test := range map[string]struct {
		change func(*Remote)
		want   string
	}{
		"URL of no sort":  {func(r *Remote) { r.URL = "signer" }, "--signer_remote_url"},
		"WebSocket":       {func(r *Remote) { r.URL = "ws://secrethost:1" }, "--signer_remote_url"},
		"nobody there":    {func(r *Remote) { r.URL = "http://127.0.0.1:1/secretpath" }, "--signer_remote_url"},
		"no socket":       {func(r *Remote) { r.URL = "/nowhere/clef.ipc" }, "--signer_remote_url"},
		"no account":      {func(r *Remote) { r.Addresses = nil }, "--signer_remote_addresses"},
		"foreign account": {func(r *Remote) { r.Addresses = []common.Address{{7}} }, "does not have this account"},
		"account twice":   {func(r *Remote) { r.Addresses = append(r.Addresses, r.Addresses[0]) }, "1 and 3"},
		"another method":  {func(r *Remote) { r.Method = "eth_sign" }, "--signer_remote_method"},
		"wrong token":     {func(r *Remote) { r.Authorization = "Bearer secrettoken" }, "HTTP status 401"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := good
			test.change(&changed)
			_, err := Open(t.Context(), Config{Remote: changed})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("have error %v, want %q in it", err, test.want)
			}
			for _, secret := range []string{"secrethost", "secretpath", "secrettoken", "path-with-a-token"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows %q: %v", secret, err)
				}
			}
		})
	}
}
