package signer

import (
	"context"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
)

// KMS is keys in AWS KMS, of the spec ECC_SECG_P256K1 and for signing. Credentials come from where the AWS SDK looks for
// them: its environment variables, shared files, web identity, container and instance roles.
type KMS struct {
	KeyIDs []string // ids, ARNs or aliases

	Region          string // empty: as the SDK finds it
	Endpoint        string // URL instead of the region's endpoint; empty: that
	Profile         string // of the shared files
	CredentialsFile string // shared credentials file instead of the SDK's, for its owner only

	Timeout  time.Duration // of one attempt; 0: 2 s
	Attempts int           // for one signature; 0: 5
	MaxWait  time.Duration // between attempts; 0: 1 s
}

func (k KMS) given() bool { return len(k.KeyIDs) > 0 }

func (k KMS) withDefaults() KMS {
	if k.Timeout <= 0 {
		k.Timeout = 2 * time.Second
	}
	if k.Attempts <= 0 {
		k.Attempts = 5
	}
	if k.MaxWait <= 0 {
		k.MaxWait = time.Second
	}
	return k
}

// ErrKMSKey says that a key in KMS cannot sign for Ethereum.
var ErrKMSKey = errors.New("not a KMS key for Ethereum")

// kmsKey is a [Signer] over one key in KMS.
type kmsKey struct {
	client  *kms.Client
	arn     string // what an alias stood for when it was opened: it may point to another key later
	address common.Address
}

// open reads each key's public half.
func (k KMS) open(ctx context.Context) ([]Signer, error) {
	k = k.withDefaults()
	client, err := k.client(ctx)
	if err != nil {
		return nil, err
	}
	signers := make([]Signer, 0, len(k.KeyIDs))
	for _, id := range k.KeyIDs {
		answer, err := client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: &id})
		if err != nil {
			return nil, &SettingError{SettingKMSKeyIDs, id, err}
		}
		address, err := kmsAddress(answer)
		if err != nil {
			return nil, &SettingError{SettingKMSKeyIDs, id, err}
		}
		arn := id
		if answer.KeyId != nil {
			arn = *answer.KeyId
		}
		signers = append(signers, &kmsKey{client: client, arn: arn, address: address})
	}
	return signers, nil
}

func (k KMS) client(ctx context.Context) (*kms.Client, error) {
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(k.Timeout)),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = k.Attempts, k.MaxWait })
		}),
	}
	if k.Region != "" {
		options = append(options, config.WithRegion(k.Region))
	}
	if k.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(k.Profile))
	}
	if k.CredentialsFile != "" {
		if err := CheckPrivateFile(k.CredentialsFile); err != nil {
			return nil, &SettingError{SettingKMSCredentialsFile, "", err}
		}
		options = append(options, config.WithSharedCredentialsFiles([]string{k.CredentialsFile}))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, &SettingError{SettingKMSKeyIDs, "", fmt.Errorf("AWS configuration: %w", err)}
	}
	if loaded.Region == "" {
		return nil, &SettingError{SettingKMSRegion, "", errors.New("no region is given, here or in the AWS configuration")}
	}
	return kms.NewFromConfig(loaded, func(o *kms.Options) {
		o.HTTPClient = countedClient{o.HTTPClient}
		if k.Endpoint != "" {
			o.BaseEndpoint = &k.Endpoint
		}
	}), nil
}

// Address implements [Signer].
func (k *kmsKey) Address() common.Address { return k.address }

// String prints the address.
func (k *kmsKey) String() string { return k.address.Hex() }

// SignTx implements [Signer]. KMS signs the digest; the SDK asks again where it is throttled or not answered.
func (k *kmsKey) SignTx(ctx context.Context, tx *types.Transaction, chainID *big.Int) (*types.Transaction, error) {
	call := Call{Signer: k.address, Kind: KindKMS}
	var attempts atomic.Int64
	began := time.Now()
	signed, err := signDigest(tx, chainID, k.address, func(digest common.Hash) ([]byte, error) {
		return k.sign(context.WithValue(ctx, attemptsKey{}, &attempts), digest)
	})
	call.Took, call.Attempts = time.Since(began), int(attempts.Load())
	if err != nil {
		call.Failure = awsFailure(err)
	}
	tell(ctx, call)
	return signed, err
}

func (k *kmsKey) sign(ctx context.Context, digest common.Hash) ([]byte, error) {
	answer, err := k.client.Sign(ctx, &kms.SignInput{
		KeyId: &k.arn, Message: digest[:], MessageType: kmstypes.MessageTypeDigest, SigningAlgorithm: kmstypes.SigningAlgorithmSpecEcdsaSha256,
	})
	if err != nil {
		return nil, fmt.Errorf("AWS KMS: %w", err)
	}
	return recoverable(answer.Signature, digest, k.address)
}

// kmsAddress reads the account of a key from the answer to GetPublicKey.
func kmsAddress(answer *kms.GetPublicKeyOutput) (common.Address, error) {
	switch {
	case answer.KeySpec != kmstypes.KeySpecEccSecgP256k1:
		return common.Address{}, fmt.Errorf("%w: have key spec %q, want %q", ErrKMSKey, answer.KeySpec, kmstypes.KeySpecEccSecgP256k1)
	case answer.KeyUsage != kmstypes.KeyUsageTypeSignVerify:
		return common.Address{}, fmt.Errorf("%w: have key usage %q, want %q", ErrKMSKey, answer.KeyUsage, kmstypes.KeyUsageTypeSignVerify)
	case !slices.Contains(answer.SigningAlgorithms, kmstypes.SigningAlgorithmSpecEcdsaSha256):
		return common.Address{}, fmt.Errorf("%w: it does not sign by %s", ErrKMSKey, kmstypes.SigningAlgorithmSpecEcdsaSha256)
	}
	return addressOfSPKI(answer.PublicKey)
}

// addressOfSPKI reads a DER-encoded SubjectPublicKeyInfo (RFC 5280 4.1.2.7, RFC 5480) with an uncompressed secp256k1 point;
// crypto/x509 does not know this curve.
func addressOfSPKI(der []byte) (common.Address, error) {
	var info struct {
		Algorithm struct {
			Algorithm, Curve asn1.ObjectIdentifier
		}
		Point asn1.BitString
	}
	rest, err := asn1.Unmarshal(der, &info)
	switch {
	case err != nil:
		return common.Address{}, fmt.Errorf("%w: public key: %w", ErrKMSKey, err)
	case len(rest) > 0:
		return common.Address{}, fmt.Errorf("%w: public key: %d bytes too many", ErrKMSKey, len(rest))
	case !info.Algorithm.Algorithm.Equal(asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}):
		return common.Address{}, fmt.Errorf("%w: public key: have algorithm %s, want id-ecPublicKey", ErrKMSKey, info.Algorithm.Algorithm)
	case !info.Algorithm.Curve.Equal(asn1.ObjectIdentifier{1, 3, 132, 0, 10}):
		return common.Address{}, fmt.Errorf("%w: public key: have curve %s, want secp256k1", ErrKMSKey, info.Algorithm.Curve)
	}
	point, err := crypto.UnmarshalPubkey(info.Point.RightAlign())
	if err != nil {
		return common.Address{}, fmt.Errorf("%w: public key: %w", ErrKMSKey, err)
	}
	return crypto.PubkeyToAddress(*point), nil
}

// recoverable turns a DER-encoded ECDSA signature (RFC 3279 2.2.3) into Ethereum's form [R || S || V]: S in the lower half of
// the order (EIP-2), and V such that the account is recovered.
func recoverable(der []byte, digest common.Hash, account common.Address) ([]byte, error) {
	var parsed struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &parsed); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("%w: not a DER-encoded signature", ErrWrongSignature)
	}
	order := crypto.S256().Params().N
	for _, n := range []*big.Int{parsed.R, parsed.S} {
		if n.Sign() <= 0 || n.Cmp(order) >= 0 {
			return nil, fmt.Errorf("%w: a number of it is out of range", ErrWrongSignature)
		}
	}
	if half := new(big.Int).Rsh(order, 1); parsed.S.Cmp(half) > 0 {
		parsed.S.Sub(order, parsed.S)
	}
	signature := make([]byte, crypto.SignatureLength)
	parsed.R.FillBytes(signature[:32])
	parsed.S.FillBytes(signature[32:64])
	for v := range byte(2) {
		signature[crypto.RecoveryIDOffset] = v
		public, err := crypto.SigToPub(digest[:], signature)
		if err == nil && crypto.PubkeyToAddress(*public) == account {
			return signature, nil
		}
	}
	return nil, ErrWrongSignature
}

// attemptsKey is the context key under which attempts are counted.
type attemptsKey struct{}

// countedClient counts the attempts that the SDK makes for one call.
type countedClient struct{ kms.HTTPClient }

// Do implements the SDK's HTTPClient.
func (c countedClient) Do(request *http.Request) (*http.Response, error) {
	if attempts, ok := request.Context().Value(attemptsKey{}).(*atomic.Int64); ok {
		attempts.Add(1)
	}
	return c.HTTPClient.Do(request)
}

// awsFailure puts an error of the SDK into one of the classes.
func awsFailure(err error) Failure {
	switch {
	case errors.Is(err, ErrOtherChain):
		return Refused
	case errors.Is(err, ErrWrongSignature):
		return WrongAnswer
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		code := api.ErrorCode()
		_, throttled := retry.DefaultThrottleErrorCodes[code]
		switch {
		case throttled:
			return Throttled
		case slices.Contains(awsDenials, code):
			return Denied
		}
		return Unavailable
	}
	if timedOut(err) {
		return TimedOut
	}
	return Unavailable
}

// awsDenials are the codes of KMS and of the AWS edge that no repetition changes.
var awsDenials = []string{
	"AccessDeniedException", "DisabledException", "KMSInvalidStateException", "NotFoundException", "InvalidKeyUsageException",
	"InvalidGrantTokenException", "UnrecognizedClientException", "InvalidClientTokenId", "ExpiredTokenException", "InvalidSignatureException",
	"IncompleteSignature", "MissingAuthenticationTokenException", "OptInRequired",
}

// timedOut reports whether an error is about time.
func timedOut(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && timeout.Timeout()
}
