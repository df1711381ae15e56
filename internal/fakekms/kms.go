// Package fakekms is AWS KMS for tests: its JSON protocol over HTTP, with real secp256k1 keys.
//
// In: requests of the real AWS SDK. Out: what KMS answers to GetPublicKey and Sign, or the fault that a test asked for.
// Every second signature has its S in the upper half of the order, as KMS makes no difference. It checks what a caller can
// get wrong (the target, the credentials' name, the kind of message, the algorithm), and keeps no state but counters.
package fakekms

import (
	"crypto/ecdsa"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/ethereum/go-ethereum/crypto"
)

// Fault is what goes wrong with one Sign request.
type Fault string

// The faults.
const (
	None      Fault = ""
	Throttle  Fault = "ThrottlingException"
	Deny      Fault = "AccessDeniedException"
	Disabled  Fault = "DisabledException"
	Internal  Fault = "KMSInternalException"
	Silence   Fault = "silence"        // no answer until the caller has gone
	OtherKey  Fault = "another key"    // a signature by another key
	BrokenDER Fault = "broken DER"     // a signature that is none
	BadNumber Fault = "S out of range" // a signature with S = 0
)

// Server is a KMS endpoint with keys by their ids.
type Server struct {
	URL       string
	accessKey string // the one that is let in
	http      *httptest.Server
	closing   chan struct{}

	mu     sync.Mutex
	keys   map[string]*ecdsa.PrivateKey
	specs  map[string]string // another key spec than secp256k1's
	faults []Fault
	asked  int // Sign requests
	signed int
	high   int // signatures with a high S
}

// Start starts an endpoint that lets in whoever signs requests as accessKey.
func Start(accessKey string, keys map[string]*ecdsa.PrivateKey) *Server {
	s := &Server{accessKey: accessKey, keys: keys, specs: make(map[string]string), closing: make(chan struct{})}
	s.http = httptest.NewServer(s)
	s.URL = s.http.URL
	return s
}

// Close ends the endpoint, and the requests that wait.
func (s *Server) Close() {
	close(s.closing)
	s.http.Close()
}

// Fail makes the next Sign requests go wrong, one after the other.
func (s *Server) Fail(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// SetSpec makes a key say that it is of another spec.
func (s *Server) SetSpec(id, spec string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.specs[id] = spec
}

// Counts returns how many Sign requests came, how many were answered with a signature, and how many of those had a high S.
func (s *Server) Counts() (asked, signed, high int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked, s.signed, s.high
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
		refuse(w, "SerializationException", "not a request of the JSON 1.1 protocol")
		return
	}
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential="+s.accessKey+"/") {
		refuse(w, "UnrecognizedClientException", "The security token included in the request is invalid.")
		return
	}
	switch r.Header.Get("X-Amz-Target") {
	case "TrentService.GetPublicKey":
		s.publicKey(w, body)
	case "TrentService.Sign":
		s.sign(w, r, body)
	default:
		refuse(w, "UnknownOperationException", "")
	}
}

const arnPrefix = "arn:aws:kms:eu-central-1:111122223333:key/"

// find returns a key by its id, alias or ARN.
func (s *Server) find(id string) (name string, key *ecdsa.PrivateKey) {
	name = strings.TrimPrefix(id, arnPrefix)
	s.mu.Lock()
	defer s.mu.Unlock()
	return name, s.keys[name]
}

func (s *Server) publicKey(w http.ResponseWriter, body []byte) {
	var in struct{ KeyId string } //nolint:revive // the protocol's name
	if json.Unmarshal(body, &in) != nil {
		refuse(w, "SerializationException", "")
		return
	}
	name, key := s.find(in.KeyId)
	if key == nil {
		refuse(w, "NotFoundException", "Key '"+arnPrefix+name+"' does not exist")
		return
	}
	der, err := asn1.Marshal(spki{
		algorithm{asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}, asn1.ObjectIdentifier{1, 3, 132, 0, 10}},
		asn1.BitString{Bytes: crypto.FromECDSAPub(&key.PublicKey), BitLength: 65 * 8},
	})
	if err != nil {
		refuse(w, string(Internal), err.Error())
		return
	}
	spec := "ECC_SECG_P256K1"
	s.mu.Lock()
	if other := s.specs[name]; other != "" {
		spec = other
	}
	s.mu.Unlock()
	answer(w, map[string]any{
		"KeyId": arnPrefix + name, "KeySpec": spec, "CustomerMasterKeySpec": spec, "KeyUsage": "SIGN_VERIFY",
		"SigningAlgorithms": []string{"ECDSA_SHA_256"}, "PublicKey": der,
	})
}

type algorithm struct{ Algorithm, Curve asn1.ObjectIdentifier }

type spki struct {
	Algorithm algorithm
	Point     asn1.BitString
}

type signRequest struct {
	KeyId, MessageType, SigningAlgorithm string //nolint:revive // the protocol's names
	Message                              []byte
}

func (s *Server) sign(w http.ResponseWriter, r *http.Request, body []byte) {
	var in signRequest
	if json.Unmarshal(body, &in) != nil {
		refuse(w, "SerializationException", "")
		return
	}
	_, key := s.find(in.KeyId)
	switch {
	case key == nil:
		refuse(w, "NotFoundException", "Key does not exist")
		return
	case in.MessageType != "DIGEST" || in.SigningAlgorithm != "ECDSA_SHA_256" || len(in.Message) != 32:
		refuse(w, "ValidationException", "Digest is invalid length for algorithm ECDSA_SHA_256.")
		return
	}
	fault := s.next()
	switch fault {
	case Silence:
		select {
		case <-r.Context().Done():
		case <-s.closing:
		}
		return
	case Throttle, Deny, Disabled, Internal:
		refuse(w, string(fault), "as the test asked")
		return
	case None, OtherKey, BrokenDER, BadNumber:
	}
	der, err := s.signature(key, in.Message, fault)
	if err != nil {
		refuse(w, string(Internal), err.Error())
		return
	}
	answer(w, map[string]any{"KeyId": in.KeyId, "SigningAlgorithm": in.SigningAlgorithm, "Signature": der})
}

func (s *Server) next() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if len(s.faults) == 0 {
		return None
	}
	fault := s.faults[0]
	s.faults = s.faults[1:]
	return fault
}

// signature is DER-encoded; S is in the upper half of the order every second time.
func (s *Server) signature(key *ecdsa.PrivateKey, digest []byte, fault Fault) ([]byte, error) {
	if fault == BrokenDER {
		return []byte{0x30, 0x03, 0x02, 0x01}, nil
	}
	if fault == OtherKey {
		var err error
		if key, err = crypto.GenerateKey(); err != nil {
			return nil, err
		}
	}
	raw, err := crypto.Sign(digest, key)
	if err != nil {
		return nil, err
	}
	numbers := struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:64])}
	if numbers.S.Sign() == 0 {
		return nil, errors.New("signature with S = 0")
	}
	s.mu.Lock()
	s.signed++
	if s.signed%2 == 0 {
		s.high++
		numbers.S.Sub(crypto.S256().Params().N, numbers.S)
	}
	s.mu.Unlock()
	if fault == BadNumber {
		numbers.S.SetInt64(0)
	}
	return asn1.Marshal(numbers)
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(value) //nolint:errchkjson // a caller that has gone reads no answer
}

func refuse(w http.ResponseWriter, kind, message string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	status := http.StatusBadRequest
	if kind == string(Internal) {
		status = http.StatusInternalServerError
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": kind, "message": message}) //nolint:errchkjson // as above
}
