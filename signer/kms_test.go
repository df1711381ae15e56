package signer

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"baler/internal/fakekms"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"pgregory.net/rapid"
)

const (
	kmsAccess = "AKIATESTTESTTESTTEST"
	kmsSecret = "wJalrXUtnFEMI-test-secret"
)

// startKMS starts a KMS with n keys, and returns a configuration that reaches it.
func startKMS(t *testing.T, n int) (*fakekms.Server, KMS, []common.Address) {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": kmsAccess, "AWS_SECRET_ACCESS_KEY": kmsSecret, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere", "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "",
		"AWS_DEFAULT_REGION": "", "AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_KMS": "",
	} {
		t.Setenv(name, value)
	}
	keys := make(map[string]*ecdsa.PrivateKey)
	config := KMS{Region: "eu-central-1", MaxWait: time.Millisecond, Timeout: time.Minute}
	var accounts []common.Address
	for i := range n {
		key, err := crypto.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		id := "alias/bundler-" + string(rune('a'+i))
		keys[id] = key
		config.KeyIDs = append(config.KeyIDs, id)
		accounts = append(accounts, crypto.PubkeyToAddress(key.PublicKey))
	}
	server := fakekms.Start(kmsAccess, keys)
	t.Cleanup(server.Close)
	config.Endpoint = server.URL
	return server, config, accounts
}

func TestKMSSignsEveryTransactionTypeWhicheverHalfItsSIsIn(t *testing.T) {
	server, config, accounts := startKMS(t, 3)
	signers := opened(t, Config{KMS: config}, accounts, kmsSecret)
	for range 10 {
		checkSigns(t, signers[1])
	}
	asked, signed, high := server.Counts()
	if want := 11*len(transactions(t)) + 1; asked != want || signed != want || high != want/2 {
		t.Errorf("have %d requests, %d signatures and %d with a high S, want %d, %[4]d and half of them", asked, signed, high, want)
	}
}

func TestKMSIsAskedAgainWhenThrottledSilentOrBroken(t *testing.T) {
	server, config, _ := startKMS(t, 1)
	config.Timeout = 300 * time.Millisecond // of an attempt; only silence is that long
	var calls []Call
	observed := WithObserver(t.Context(), func(c Call) { calls = append(calls, c) })
	signers, err := Open(t.Context(), Config{KMS: config})
	if err != nil {
		t.Fatal(err)
	}
	tx := transactions(t)["1559"]
	for _, faults := range [][]fakekms.Fault{
		{fakekms.Throttle, fakekms.Throttle}, {fakekms.Silence}, {fakekms.Internal, fakekms.Throttle, fakekms.Silence},
	} {
		server.Fail(faults...)
		signed, err := signers[0].SignTx(observed, tx, testChain)
		if err != nil {
			t.Fatalf("%v: %v", faults, err)
		}
		checkSigned(t, "1559", signers[0], tx, signed)
		call := calls[len(calls)-1]
		if call.Attempts < len(faults)+1 || call.Failure != "" || call.Took <= 0 || call.Kind != KindKMS || call.Signer != signers[0].Address() {
			t.Errorf("after %v: have %+v, want at least %d attempts and no failure", faults, call, len(faults)+1)
		}
	}
}

func TestKMSFailuresAreToldApartAndEnd(t *testing.T) {
	server, config, _ := startKMS(t, 1)
	config.Attempts = 2
	tx := transactions(t)["legacy"]
	for _, test := range []struct {
		fault   fakekms.Fault
		want    Failure
		tries   int
		timeout time.Duration
	}{
		{fakekms.Throttle, Throttled, 2, time.Minute},
		{fakekms.Internal, Unavailable, 2, time.Minute},
		{fakekms.Silence, TimedOut, 2, 100 * time.Millisecond},
		{fakekms.Deny, Denied, 1, time.Minute},
		{fakekms.Disabled, Denied, 1, time.Minute},
		{fakekms.OtherKey, WrongAnswer, 1, time.Minute},
		{fakekms.BrokenDER, WrongAnswer, 1, time.Minute},
		{fakekms.BadNumber, WrongAnswer, 1, time.Minute},
	} {
		t.Run(string(test.fault), func(t *testing.T) {
			config.Timeout = test.timeout
			var call Call
			signers, err := Open(t.Context(), Config{KMS: config})
			if err != nil {
				t.Fatal(err)
			}
			for range test.tries {
				server.Fail(test.fault)
			}
			_, err = signers[0].SignTx(WithObserver(t.Context(), func(c Call) { call = c }), tx, testChain)
			if err == nil || call.Failure != test.want || call.Attempts != test.tries {
				t.Errorf("have error %v and %+v, want %q after %d attempts", err, call, test.want, test.tries)
			}
			if err != nil && strings.Contains(err.Error(), kmsSecret) {
				t.Errorf("the error shows the AWS secret: %v", err)
			}
		})
	}
	t.Run("the caller gives up", func(t *testing.T) {
		config.Timeout = time.Minute
		signers, err := Open(t.Context(), Config{KMS: config})
		if err != nil {
			t.Fatal(err)
		}
		server.Fail(fakekms.Silence)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := signers[0].SignTx(ctx, tx, testChain); err == nil {
			t.Error("signed after the caller gave up")
		}
	})
}

func TestKMSKeysThatCannotSignAreRefusedAtTheStart(t *testing.T) {
	server, config, _ := startKMS(t, 2)
	server.SetSpec(config.KeyIDs[1], "ECC_NIST_P256")
	for name, test := range map[string]struct {
		change func(*KMS)
		want   string
	}{
		"another spec":       {func(*KMS) {}, `have key spec "ECC_NIST_P256", want "ECC_SECG_P256K1"`},
		"no such key":        {func(k *KMS) { k.KeyIDs = []string{"alias/none"} }, "alias/none"},
		"no region":          {func(k *KMS) { k.Region = "" }, "--signer_kms_region"},
		"no such profile":    {func(k *KMS) { k.Profile = "nobody" }, "nobody"},
		"another's endpoint": {func(k *KMS) { k.Endpoint, k.Attempts = "http://127.0.0.1:1", 1 }, "--signer_kms_key_ids"},
		"one key twice":      {func(k *KMS) { k.KeyIDs = []string{k.KeyIDs[0], k.KeyIDs[0]} }, "1 and 2"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := config
			test.change(&changed)
			_, err := Open(t.Context(), Config{KMS: changed})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("have error %v, want %q in it", err, test.want)
			}
		})
	}
	t.Run("foreign credentials", func(t *testing.T) {
		t.Setenv("AWS_ACCESS_KEY_ID", "AKIASOMEBODYELSE")
		if _, err := Open(t.Context(), Config{KMS: config}); err == nil || !strings.Contains(err.Error(), "UnrecognizedClientException") {
			t.Errorf("have error %v, want the refusal of KMS", err)
		}
	})
	t.Run("credentials from a file", func(t *testing.T) {
		t.Setenv("AWS_ACCESS_KEY_ID", "")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "")
		changed := config
		changed.KeyIDs, changed.Profile = config.KeyIDs[:1], "bundler"
		changed.CredentialsFile = written(t, "[bundler]\naws_access_key_id = "+kmsAccess+"\naws_secret_access_key = "+kmsSecret+"\n", 0o600)
		if _, err := Open(t.Context(), Config{KMS: changed}); err != nil {
			t.Error(err)
		}
	})
}

// Whatever the signature's form, what is recovered is the account, and S is low.
func TestEverySignatureOfTheKeyIsMadeRecoverable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, err := crypto.ToECDSA(scalar(t))
		if err != nil {
			t.Skip("not a key")
		}
		digest := common.BytesToHash(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "digest"))
		raw, err := crypto.Sign(digest[:], key)
		if err != nil {
			t.Fatal(err)
		}
		s := new(big.Int).SetBytes(raw[32:64])
		if rapid.Bool().Draw(t, "high") {
			s.Sub(crypto.S256().Params().N, s)
		}
		der := derSignature(new(big.Int).SetBytes(raw[:32]), s)
		have, err := recoverable(der, digest, crypto.PubkeyToAddress(key.PublicKey))
		if err != nil || string(have) != string(raw) {
			t.Fatalf("have %x (%v), want %x", have, err, raw)
		}
		if _, err := recoverable(der, digest, common.Address{1}); !errors.Is(err, ErrWrongSignature) {
			t.Fatalf("another's signature: have error %v", err)
		}
		if _, err := recoverable(append(der, 0), digest, crypto.PubkeyToAddress(key.PublicKey)); !errors.Is(err, ErrWrongSignature) {
			t.Fatalf("a byte too many: have error %v", err)
		}
	})
}

func scalar(t *rapid.T) []byte {
	return rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key")
}

// derSignature encodes by hand: SEQUENCE of two INTEGERs in their shortest form.
func derSignature(r, s *big.Int) []byte {
	integer := func(n *big.Int) []byte {
		b := n.Bytes()
		if b[0] >= 0x80 {
			b = append([]byte{0}, b...)
		}
		return append([]byte{2, byte(len(b))}, b...)
	}
	body := append(integer(r), integer(s)...)
	return append([]byte{0x30, byte(len(body))}, body...)
}

func FuzzAnswersOfKMS(f *testing.F) {
	digest := common.Hash{1}
	f.Add(derSignature(big.NewInt(1), big.NewInt(1)), true)
	f.Add([]byte{0x30, 0x80}, false)
	f.Fuzz(func(t *testing.T, der []byte, key bool) {
		if key {
			_, _ = addressOfSPKI(der)
			return
		}
		if signature, err := recoverable(der, digest, common.Address{}); err == nil {
			t.Errorf("a signature of the zero account: %x", signature)
		}
	})
}
