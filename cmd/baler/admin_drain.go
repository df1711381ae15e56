package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"time"

	balerrpc "baler/rpc"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"
)

// operatorSettings say how the operators' server of a running bundler is reached.
type operatorSettings struct {
	AdminURL    string `help:"URL of the operators' server." name:"admin-url" default:"http://127.0.0.1:3001" placeholder:"URL"`
	AdminToken  string `help:"Token that proves that you are an operator. Better given as BALER_ADMIN_TOKEN." name:"admin-token" placeholder:"TOKEN" secret:""`
	AdminCACert string `help:"Certificate authorities that the server's certificate may be of, PEM. Default: the system's." name:"admin-ca-cert" placeholder:"FILE"`
}

// dial connects to the operators' server.
func (s operatorSettings) dial(ctx context.Context) (*rpc.Client, error) {
	transport := &http.Transport{}
	if s.AdminCACert != "" {
		text, err := os.ReadFile(s.AdminCACert)
		if err != nil {
			return nil, badSetting("--admin_ca_cert: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, badSetting("--admin_ca_cert: no certificate in %s", s.AdminCACert)
		}
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	}
	options := []rpc.ClientOption{rpc.WithHTTPClient(&http.Client{Transport: transport, Timeout: 30 * time.Second})}
	if s.AdminToken != "" {
		options = append(options, rpc.WithHeader("Authorization", "Bearer "+s.AdminToken))
	}
	client, err := rpc.DialOptions(ctx, s.AdminURL+"/rpc", options...)
	if err != nil {
		return nil, badSetting("--admin_url: %w", err)
	}
	return client, nil
}

// drainCommand frees a key.
type drainCommand struct {
	Key string `arg:"" help:"Address of the key." placeholder:"KEY"`

	operatorSettings
}

// drainPause is the time between two looks at a key that is drained.
const drainPause = 500 * time.Millisecond

// Run asks the bundler to drain the key until it is free.
func (c *drainCommand) Run(ctx context.Context, out console) error {
	list, err := addresses("KEY", []string{c.Key})
	if err != nil {
		return err
	}
	client, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	for said := -1; ; {
		status, err := drain(ctx, client, list[0])
		switch {
		case err != nil:
			return fmt.Errorf("drain %s: %w", list[0], err)
		case !status.Held:
			printf(out.out, "%s is free\n", status.Key)
			return nil
		case said != status.Live:
			said = status.Live
			printf(out.out, "%s finishes %d transactions\n", status.Key, status.Live)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("drain %s: it goes on, %d transactions are left: %w", status.Key, status.Live, ctx.Err())
		case <-time.After(drainPause):
		}
	}
}

func drain(ctx context.Context, client *rpc.Client, key common.Address) (*balerrpc.KeyStatus, error) {
	var status balerrpc.KeyStatus
	return &status, client.CallContext(ctx, &status, "admin_drainKey", key)
}
