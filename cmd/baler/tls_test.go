package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"baler/edge"
)

// authority signs certificates.
type authority struct {
	dir         string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	file        string // its certificate
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.certificate, a.key, a.file, _ = a.sign(t, name, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	})
	return a
}

// sign makes a key and a certificate of it, and writes both into files.
func (a *authority) sign(t *testing.T, name string, changes ...func(*x509.Certificate)) (certificate *x509.Certificate, key *ecdsa.PrivateKey, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	for _, change := range changes {
		change(template)
	}
	parent, signs := template, key // by itself
	if a.certificate != nil {
		parent, signs = a.certificate, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signs)
	if err == nil {
		certificate, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key, certFile, keyFile
}

func forServers(c *x509.Certificate) {
	c.ExtKeyUsage, c.IPAddresses = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []net.IP{net.IPv4(127, 0, 0, 1)}
}

func forClients(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }

func expired(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }

// TestOperatorsAreKnownByTheirCertificates shakes hands with the operators' server, with real certificates, right ones and wrong.
func TestOperatorsAreKnownByTheirCertificates(t *testing.T) {
	t.Parallel()
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	_, _, cert, key := ours.sign(t, "server", forServers)
	settings := adminSettings{AdminAddr: "127.0.0.1:0", AdminToken: "0123456789abcdef", AdminTLSCert: cert, AdminTLSKey: key, AdminClientCA: ours.file}
	server, listener, err := settings.server(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	done := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("done")) })
	server.Handle("/open", edge.Open, done)
	server.Handle("/act", edge.Act, done)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	url := settings.url(listener)
	if !strings.HasPrefix(url, "https://127.0.0.1:") {
		t.Errorf("have the URL %s", url)
	}

	type client struct {
		by      *authority // whose certificate it has; nil: none
		changes []func(*x509.Certificate)
		trusts  *authority
		token   string
		path    string
		status  int    // 0: no answer
		refused string // in the error then
	}
	for name, c := range map[string]client{
		"no certificate, nothing to prove":    {trusts: ours, path: "/open", status: http.StatusOK},
		"no certificate":                      {trusts: ours, path: "/act", status: http.StatusUnauthorized},
		"the token":                           {trusts: ours, token: "0123456789abcdef", path: "/act", status: http.StatusOK},
		"a wrong token":                       {trusts: ours, token: "0123456789abcdeX", path: "/act", status: http.StatusUnauthorized},
		"an operator's certificate":           {by: ours, changes: []func(*x509.Certificate){forClients}, trusts: ours, path: "/act", status: http.StatusOK},
		"a certificate of somebody else":      {by: others, changes: []func(*x509.Certificate){forClients}, trusts: ours, path: "/open", refused: "tls: "},
		"a certificate that has expired":      {by: ours, changes: []func(*x509.Certificate){forClients, expired}, trusts: ours, path: "/open", refused: "tls: "},
		"a certificate for servers":           {by: ours, changes: []func(*x509.Certificate){forServers}, trusts: ours, path: "/open", refused: "tls: "},
		"a certificate that signs itself":     {by: &authority{dir: t.TempDir()}, changes: []func(*x509.Certificate){forClients}, trusts: ours, path: "/open", refused: "tls: "},
		"the client does not know the server": {trusts: others, path: "/open", refused: "certificate signed by unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			operator := operatorSettings{AdminURL: url, AdminToken: c.token, AdminCACert: c.trusts.file}
			if c.by != nil {
				_, _, operator.AdminClientCert, operator.AdminClientKey = c.by.sign(t, "client", c.changes...)
			}
			client, err := operator.http(patience)
			if err != nil {
				t.Fatal(err)
			}
			transport, ok := client.Transport.(*http.Transport)
			if !ok {
				t.Fatalf("have a transport %T", client.Transport)
			}
			transport.DisableKeepAlives = true
			if given := transport.TLSClientConfig.Certificates; len(given) > 0 { // shown even if the server asks for others
				transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &given[0], nil }
			}
			status, refused := get(t, client, url+c.path, c.token)
			if status != c.status || (c.status == 0) != (refused != "") || !strings.Contains(refused, c.refused) {
				t.Errorf("have status %d and %q, want %d and %q", status, refused, c.status, c.refused)
			}
		})
	}
	t.Run("old TLS", func(t *testing.T) {
		pool := x509.NewCertPool()
		pool.AddCert(ours.certificate)
		old := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}} //nolint:gosec // that is what is refused
		if status, refused := get(t, &http.Client{Transport: old}, url+"/open", ""); status != 0 || !strings.Contains(refused, "protocol version") {
			t.Errorf("have status %d and %q, want none", status, refused)
		}
	})
	t.Run("no TLS", func(t *testing.T) {
		if status, refused := get(t, &http.Client{}, strings.Replace(url, "https:", "http:", 1)+"/open", "0123456789abcdef"); status != http.StatusBadRequest {
			t.Errorf("have status %d and %q, want %d", status, refused, http.StatusBadRequest)
		}
	})
	t.Run("half a certificate", func(t *testing.T) {
		if _, err := (operatorSettings{AdminClientCert: cert}).http(patience); err == nil || !strings.Contains(err.Error(), "--admin_client_key") {
			t.Errorf("have %v", err)
		}
	})
}

// get returns the status of an answer, or why there is none.
func get(t *testing.T, client *http.Client, url, token string) (status int, refused string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	return answer.StatusCode, ""
}
