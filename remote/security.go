package remote

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
)

// minTokenLength is the least length of a token that nobody guesses.
const minTokenLength = 16

// Security is how the two sides prove who they are. What is set is demanded: with both a token and an authority, a caller
// needs the token and a certificate of the authority.
type Security struct {
	// Token is a secret that all processes of the bundler share; empty: none. Without TLS it travels in the clear.
	Token string
	// Cert and Key are this process's certificate and private key, PEM files; both or neither. A server with them speaks TLS.
	Cert, Key string
	// CA are the authorities whose certificates are believed, a PEM file. A server with it wants a certificate of each caller;
	// a client without it believes the system's authorities.
	CA string
}

// check looks at what can be judged without the files.
func (s *Security) check() error {
	switch {
	case s.Token != "" && len(s.Token) < minTokenLength:
		return fmt.Errorf("token: want at least %d characters", minTokenLength)
	case strings.TrimSpace(s.Token) != s.Token || strings.ContainsAny(s.Token, "\r\n"):
		return errors.New("token: have white space around or in it")
	case (s.Cert == "") != (s.Key == ""):
		return errors.New("certificate and key: have one of them, want both")
	}
	return nil
}

// server returns the TLS of a server; nil: it speaks plain HTTP/2.
func (s *Security) server() (*tls.Config, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if s.Cert == "" {
		if s.CA != "" {
			return nil, errors.New("authority: want a certificate and a key for the server too")
		}
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.pair() }}
	if _, err := s.pair(); err != nil {
		return nil, err
	}
	if s.CA != "" {
		pool, err := s.authorities()
		if err != nil {
			return nil, err
		}
		// A caller without one gets as far as an error that says so, and may ask for health.
		config.ClientAuth, config.ClientCAs = tls.VerifyClientCertIfGiven, pool
	}
	return config, nil
}

// client returns the TLS of a client, for https URLs.
func (s *Security) client() (*tls.Config, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13}
	if s.CA != "" {
		pool, err := s.authorities()
		if err != nil {
			return nil, err
		}
		config.RootCAs = pool
	}
	if s.Cert != "" {
		if _, err := s.pair(); err != nil {
			return nil, err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return s.pair() }
	}
	return config, nil
}

// pair reads certificate and key. They are read for each handshake: a renewed certificate needs no restart.
func (s *Security) pair() (*tls.Certificate, error) {
	certificate, err := tls.LoadX509KeyPair(s.Cert, s.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return &certificate, nil
}

func (s *Security) authorities() (*x509.CertPool, error) {
	text, err := os.ReadFile(s.CA)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("authority: no certificate in %s", s.CA)
	}
	return pool, nil
}

// gatekeeper knows whether a request may come in.
type gatekeeper struct {
	token       *[sha256.Size]byte // of the token's hash; nil: none is asked for
	certificate bool               // one is asked for
}

func newGatekeeper(s Security) gatekeeper {
	g := gatekeeper{certificate: s.CA != ""}
	if s.Token != "" {
		sum := sha256.Sum256([]byte(s.Token))
		g.token = &sum
	}
	return g
}

// refuses returns what the request lacks; empty: nothing. Both sides of a token are hashed first, so that neither its
// length nor its beginning shows in the time.
func (g gatekeeper) refuses(r *http.Request) string {
	if g.certificate && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0) {
		return "a client certificate is missing"
	}
	if g.token == nil {
		return ""
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	if subtle.ConstantTimeCompare(sum[:], g.token[:]) != 1 || !strings.EqualFold(scheme, "Bearer") {
		return "the token is missing or wrong"
	}
	return ""
}

// open reports whether anybody may call.
func (g gatekeeper) open() bool { return g.token == nil && !g.certificate }
