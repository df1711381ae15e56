// Package chain is the nodes Baler talks to: connections, heads followed one by one, reorgs, nonces, receipts, logs
// and the priority fee.
//
// In: an endpoint's URL. Out: typed answers, each pinned to a block hash where the answer depends on the state.
// It promises that every call ends (by the caller's context or by a timeout) and that no error text holds an
// endpoint's path or credentials. It never decides anything about operations or transactions.
package chain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"
)

// DefaultTimeout bounds one request to the node.
const DefaultTimeout = 10 * time.Second

// ErrURL says that a URL is not one of a node.
var ErrURL = errors.New("node URL")

// Client is a connection to one node, or to several of one chain. It is safe for concurrent use.
//
// It does not embed geth's ethclient: the errors of that one hold the URL.
type Client struct {
	several *several // nil: it is one node

	eth     *ethclient.Client
	rpc     *rpc.Client
	idle    func() // closes idle HTTP connections
	meter   *meter
	origin  string // scheme and host: all of the URL that may be shown
	timeout time.Duration
}

// Dial connects to a node at an http, https, ws or wss URL. An HTTP node is not contacted before the first call.
func Dial(ctx context.Context, rawURL string, timeout time.Duration) (*Client, error) {
	parsed, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("node connection: the default HTTP transport has been replaced")
	}
	// One host takes all our traffic: keep as many idle connections as we run requests in parallel.
	transport = transport.Clone()
	transport.MaxIdleConnsPerHost = 64
	c := &Client{idle: transport.CloseIdleConnections, origin: parsed.Scheme + "://" + parsed.Host, timeout: timeout}
	c.meter = &meter{next: transport, origin: c.origin}
	// Each call's context ends in time. A limit of the HTTP client's own would take a goroutine and a timer for each request besides.
	c.rpc, err = rpc.DialOptions(ctx, rawURL, rpc.WithHTTPClient(&http.Client{Transport: c.meter}))
	if err != nil {
		return nil, c.clean("connect", err)
	}
	c.eth = ethclient.NewClient(c.rpc)
	return c, nil
}

// CheckURL says what is wrong with the URL of a node; it may hold secrets, and the error does not. Nobody is contacted.
func CheckURL(rawURL string) error {
	_, err := parseURL(rawURL)
	return err
}

func parseURL(rawURL string) (*url.URL, error) {
	parsed, err := url.Parse(rawURL)
	if err != nil || parsed.Host == "" {
		return nil, fmt.Errorf("%w: have an unreadable URL, want http://, https://, ws:// or wss:// and a host", ErrURL)
	}
	switch parsed.Scheme {
	case "http", "https", "ws", "wss":
		return parsed, nil
	default:
		return nil, fmt.Errorf("%w: have scheme %q, want http, https, ws or wss", ErrURL, parsed.Scheme)
	}
}

// Close ends the connections and every subscription on them. Over HTTP geth's client would keep its idle connections,
// and a server that shuts down waits for those that never carried a request.
func (c *Client) Close() {
	if c.several != nil {
		c.several.close()
		return
	}
	c.rpc.Close()
	c.idle()
}

// Origin is the node's scheme and host, safe to show.
func (c *Client) Origin() string { return c.origin }

// Endpoints says where each endpoint stands; nil: there is only one, and nothing to choose.
func (c *Client) Endpoints() []EndpointState {
	if c.several == nil {
		return nil
	}
	return c.several.states()
}

// CallContext sends one request and decodes its result. A JSON-RPC error of the node stays an rpc.Error.
func (c *Client) CallContext(ctx context.Context, result any, method string, args ...any) error {
	if c.several != nil {
		return c.several.call(ctx, result, method, args...)
	}
	note(ctx, c.origin)
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.clean(method, c.rpc.CallContext(ctx, result, method, args...))
}

// BatchCallContext sends a batch in one round trip. The returned error is the transport's; each element has its own.
func (c *Client) BatchCallContext(ctx context.Context, batch []rpc.BatchElem) error {
	if len(batch) == 0 {
		return nil
	}
	if c.several != nil {
		return c.several.batch(ctx, batch)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.clean("batch", c.rpc.BatchCallContext(ctx, batch))
}

// clean wraps an error without the URL that net/http puts into its own: API keys travel in paths.
func (c *Client) clean(method string, err error) error {
	if err == nil {
		return nil
	}
	if urlError, ok := errors.AsType[*url.Error](err); ok {
		err = urlError.Err
	}
	status := 0
	if httpError, ok := errors.AsType[rpc.HTTPError](err); ok {
		status = httpError.StatusCode
		err = fmt.Errorf("HTTP status %d", status)
	}
	return &NodeError{Origin: c.origin, Method: method, Status: status, err: err}
}

// NodeError is a failed request to a node. Unwrap gives the node's own rpc.Error where it answered one.
type NodeError struct {
	Origin string
	Method string
	Status int // of HTTP, where that is what went wrong; else 0
	err    error
}

func (e *NodeError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("node %s: %s: %v", e.Origin, e.Method, e.err))
}

// Unwrap returns the cause.
func (e *NodeError) Unwrap() error { return e.err }

// Answered reports whether the node itself answered with a JSON-RPC error: the request arrived and was judged.
// Anything else (timeout, broken connection, HTTP status) leaves open whether it arrived.
func Answered(err error) bool {
	_, ok := errors.AsType[rpc.Error](err)
	return ok
}

// Misdirected reports whether a request came to somebody who will not serve it later either, by the HTTP status: the URL is no node's, or
// lacks a key. Of the errors of several endpoints all must say so.
func Misdirected(err error) bool {
	if failed, ok := err.(*NodeError); ok { //nolint:errorlint // the tree of errors is walked here
		switch failed.Status {
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed:
			return true
		default:
			return false
		}
	}
	switch wrapping := err.(type) { //nolint:errorlint // the tree of errors is walked here
	case interface{ Unwrap() error }:
		return Misdirected(wrapping.Unwrap())
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(wrapping.Unwrap(), func(err error) bool { return !Misdirected(err) })
	default:
		return false
	}
}
