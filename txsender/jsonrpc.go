package txsender

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// DefaultTimeout bounds one request to an endpoint.
	DefaultTimeout = 10 * time.Second
	// maxResponse is the longest answer read from an endpoint, in bytes. A transaction's hash is 32.
	maxResponse = 1 << 20
)

// endpoint is one HTTP endpoint that speaks JSON-RPC.
type endpoint struct {
	url     string // not to be shown: API keys travel in paths
	origin  string // scheme and host: what may be shown
	secrets []string
	headers http.Header
	client  *http.Client
	timeout time.Duration
	lastID  atomic.Uint64
}

// newEndpoint reads the URL of a setting. An HTTP endpoint is not contacted before the first call.
func newEndpoint(setting string, rawURL Secret, timeout time.Duration) (*endpoint, error) {
	parsed, err := url.Parse(string(rawURL))
	if err != nil || parsed.Host == "" {
		return nil, &SettingError{setting, "an unreadable URL", "http:// or https:// and a host"}
	}
	if parsed.Scheme != "http" && parsed.Scheme != "https" {
		return nil, &SettingError{setting, fmt.Sprintf("scheme %q", parsed.Scheme), "http or https"}
	}
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("transaction sender: the default HTTP transport has been replaced")
	}
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	transport = transport.Clone()
	transport.MaxIdleConnsPerHost = 64 // one host takes the transactions of all senders
	e := &endpoint{
		url: string(rawURL), origin: parsed.Scheme + "://" + parsed.Host, headers: make(http.Header), timeout: timeout,
		client: &http.Client{
			Transport: transport,
			// A redirected request would carry the transaction and the credentials to whom they were not meant for.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if password, has := parsed.User.Password(); has {
		e.hide(password)
		e.hide(base64.StdEncoding.EncodeToString([]byte(parsed.User.Username() + ":" + password))) // as it goes into a header
	}
	e.hide(parsed.User.Username())
	for part := range strings.SplitSeq(parsed.Path, "/") {
		e.hide(part)
	}
	for _, values := range parsed.Query() {
		for _, value := range values {
			e.hide(value)
		}
	}
	return e, nil
}

// hide keeps a text out of everything the endpoint's answers are shown in. A text of a few letters is no secret, and may be
// part of any word.
func (e *endpoint) hide(secret string) {
	if len(secret) >= 8 {
		e.secrets = append(e.secrets, secret)
	}
}

// authorize adds a header whose value is a secret.
func (e *endpoint) authorize(header string, value Secret) {
	e.headers.Set(header, string(value))
	e.hide(string(value))
}

// Close closes idle connections.
func (e *endpoint) Close() error {
	e.client.CloseIdleConnections()
	return nil
}

// CallContext implements [Caller]: positional arguments.
func (e *endpoint) CallContext(ctx context.Context, result any, method string, args ...any) error {
	return e.call(ctx, result, method, args, nil)
}

// call sends one request and decodes its result. sign, if given, adds headers that depend on the exact body.
func (e *endpoint) call(
	ctx context.Context, result any, method string, params any, sign func(body []byte, headers http.Header) error,
) error {
	body, err := json.Marshal(request{"2.0", e.lastID.Add(1), method, params})
	if err != nil {
		return fmt.Errorf("encode %s: %w", method, err)
	}
	headers := e.headers.Clone()
	headers.Set("Content-Type", "application/json")
	headers.Set("Accept", "application/json")
	if sign != nil {
		if err := sign(body, headers); err != nil {
			return err
		}
	}
	status, answer, err := e.exchange(ctx, http.MethodPost, e.url, headers, body)
	if err != nil {
		return err
	}
	return e.clean(decodeAnswer(status, answer, result))
}

// exchange makes one HTTP request and reads the whole answer. Its errors do not hold the URL.
func (e *endpoint) exchange(ctx context.Context, verb, target string, headers http.Header, body []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, verb, target, bytes.NewReader(body))
	if err != nil {
		return 0, nil, errors.New("request could not be made") // the cause holds the URL
	}
	req.Header = headers
	resp, err := e.client.Do(req)
	if err != nil {
		if inURL, ok := errors.AsType[*url.Error](err); ok {
			err = inURL.Err
		}
		return 0, nil, e.clean(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse+1))
	if err != nil {
		return 0, nil, e.clean(fmt.Errorf("read answer: %w", err))
	}
	if len(answer) > maxResponse {
		return 0, nil, fmt.Errorf("have an answer of more than %d bytes, want at most that", maxResponse)
	}
	return resp.StatusCode, answer, nil
}

// clean returns the error without what must not be shown.
func (e *endpoint) clean(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	hidden := text
	for _, secret := range e.secrets {
		hidden = strings.ReplaceAll(hidden, secret, "[hidden]")
	}
	if hidden == text {
		return err
	}
	if answered, ok := errors.AsType[*callError](err); ok {
		return &callError{answered.code, hidden}
	}
	return &hiddenError{hidden, err}
}

// hiddenError shows another text than its cause.
type hiddenError struct {
	text  string
	cause error
}

func (e *hiddenError) Error() string { return e.text }

// Is keeps the identity of the cause, As only what cannot show it.
func (e *hiddenError) Is(target error) bool { return errors.Is(e.cause, target) }

type request struct {
	Version string `json:"jsonrpc"`
	ID      uint64 `json:"id"`
	Method  string `json:"method"`
	Params  any    `json:"params"`
}

// callError is the error an endpoint answered with. It implements rpc.Error of go-ethereum.
type callError struct {
	code    int
	message string
}

func (e *callError) Error() string { return e.message }

// ErrorCode returns the JSON-RPC error code, 0 if the endpoint sent none.
func (e *callError) ErrorCode() int { return e.code }

// statusError is an HTTP status where an answer was expected.
type statusError struct{ status int }

func (e *statusError) Error() string { return fmt.Sprintf("HTTP status %d", e.status) }

// errNoResult is an answer that is neither a result nor an error.
var errNoResult = errors.New("have an answer without a result, want a JSON-RPC result or error")

// decodeAnswer reads a JSON-RPC response. Relays are not strict about the form of an error: it may be a text instead of an
// object, and come with any HTTP status.
func decodeAnswer(status int, answer []byte, result any) error {
	var response struct {
		Result json.RawMessage `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	err := json.Unmarshal(answer, &response)
	if err == nil && isGiven(response.Error) {
		return decodeError(response.Error)
	}
	if status < 200 || status > 299 {
		return &statusError{status}
	}
	if err != nil {
		return fmt.Errorf("have an answer that is not JSON-RPC: %w", err)
	}
	if !isGiven(response.Result) {
		return errNoResult
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(response.Result, result); err != nil {
		return fmt.Errorf("have an unexpected result: %w", err)
	}
	return nil
}

func isGiven(value json.RawMessage) bool {
	return len(value) > 0 && !bytes.Equal(value, []byte("null"))
}

func decodeError(value json.RawMessage) error {
	var object struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(value, &object) == nil && object.Message != "" {
		return &callError{object.Code, object.Message}
	}
	var text string
	if json.Unmarshal(value, &text) == nil && text != "" {
		return &callError{object.Code, text}
	}
	return &callError{object.Code, string(value)}
}
