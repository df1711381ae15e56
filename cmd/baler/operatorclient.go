package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
)

// operatorSettings say how the operators' server of a running bundler is reached, and who is there.
type operatorSettings struct {
	AdminURL        string `help:"URL of the operators' server." name:"admin-url" default:"http://127.0.0.1:3001" placeholder:"URL"`
	AdminToken      string `help:"Token that proves that you are an operator. Better given as BALER_ADMIN_TOKEN." name:"admin-token" placeholder:"TOKEN" secret:""`
	AdminCACert     string `help:"Certificate authorities that the server's certificate may be of, PEM. Default: the system's." name:"admin-ca-cert" placeholder:"FILE"`
	AdminClientCert string `help:"Certificate that proves that you are an operator, PEM." name:"admin-client-cert" placeholder:"FILE"`
	AdminClientKey  string `help:"Its private key, PEM, in a file that only its owner may read (mode 0600)." name:"admin-client-key" placeholder:"FILE"`
}

// http is a client of the operators' server.
func (s operatorSettings) http(timeout time.Duration) (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.AdminCACert != "" {
		text, err := os.ReadFile(s.AdminCACert)
		if err != nil {
			return nil, badSetting("--admin_ca_cert: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, badSetting("--admin_ca_cert: no certificate in %s", s.AdminCACert)
		}
	}
	if s.AdminClientCert != "" || s.AdminClientKey != "" {
		if err := privateKeyFile("--admin_client_key", s.AdminClientKey); err != nil {
			return nil, err
		}
		certificate, err := tls.LoadX509KeyPair(s.AdminClientCert, s.AdminClientKey)
		if err != nil {
			return nil, badSetting("--admin_client_cert, --admin_client_key: %w", err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: timeout}, nil
}

// dial connects to the calls of the operators' server.
func (s operatorSettings) dial(ctx context.Context) (*rpc.Client, error) {
	client, err := s.http(30 * time.Second)
	if err != nil {
		return nil, err
	}
	options := []rpc.ClientOption{rpc.WithHTTPClient(client)}
	if s.AdminToken != "" {
		options = append(options, rpc.WithHeader("Authorization", "Bearer "+s.AdminToken))
	}
	dialled, err := rpc.DialOptions(ctx, s.AdminURL+"/rpc", options...)
	if err != nil {
		return nil, badSetting("--admin_url: %w", err)
	}
	return dialled, nil
}
