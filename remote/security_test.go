package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"baler/node"
	pb "baler/remote/remotev1"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"
)

const goodToken = "a token that nobody guesses"

func TestOnlyWhoProvesWhoItIsMayCall(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	serverCert, serverKey := ours.pair(t, "server")
	cert, key := ours.pair(t, "client")
	badCert, badKey := theirs.pair(t, "stranger")
	withTLS := Security{Cert: serverCert, Key: serverKey}
	mutual := Security{Cert: serverCert, Key: serverKey, CA: ours.ca}
	both := mutual
	both.Token = goodToken

	for _, c := range []struct {
		name           string
		server, client Security
		want           Cause // empty: it may
	}{
		{"the token", Security{Token: goodToken}, Security{Token: goodToken}, ""},
		{"another token", Security{Token: goodToken}, Security{Token: goodToken + "?"}, Unauthorized},
		{"no token", Security{Token: goodToken}, Security{}, Unauthorized},
		{"TLS", withTLS, Security{CA: ours.ca}, ""},
		{"a server that is not believed", withTLS, Security{CA: theirs.ca}, Unauthorized},
		{"a certificate", mutual, Security{CA: ours.ca, Cert: cert, Key: key}, ""},
		{"no certificate", mutual, Security{CA: ours.ca}, Unauthorized},
		{"a stranger's certificate", mutual, Security{CA: ours.ca, Cert: badCert, Key: badKey}, Unauthorized},
		{"certificate and token", both, Security{CA: ours.ca, Cert: cert, Key: key, Token: goodToken}, ""},
		{"a certificate without the token", both, Security{CA: ours.ca, Cert: cert, Key: key}, Unauthorized},
		{"the token without a certificate", both, Security{CA: ours.ca, Token: goodToken}, Unauthorized},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := quick()
			cfg.Security = c.server
			s := serve(t, cfg, "", newFakePool("one"))
			client := connected(t, ClientConfig{Security: c.client, DialTime: time.Minute}, s.url())
			_, err := whoServes(t.Context(), client)
			if c.want == "" {
				if err != nil {
					t.Errorf("have %v, want an answer", err)
				}
				return
			}
			if e, ok := errors.AsType[*Error](err); !ok || e.Cause != c.want || e.Sent || !errors.Is(err, node.ErrUnreachable) {
				t.Errorf("have %v, want %s", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), goodToken) {
				t.Errorf("the error tells the token: %v", err)
			}
		})
	}
}

func TestARenewedCertificateNeedsNoRestart(t *testing.T) {
	ours := newAuthority(t)
	cert, key := ours.pair(t, "server")
	cfg := quick()
	cfg.Security = Security{Cert: cert, Key: key}
	s := serve(t, cfg, "", newFakePool("one"))
	serial := func() string {
		t.Helper()
		e, err := newEndpoint(&ClientConfig{DialTime: time.Minute, MaxBytes: 1 << 20}, s.url(), clientTLS(t, Security{CA: ours.ca}))
		if err != nil {
			t.Fatal(err)
		}
		defer e.transport.CloseIdleConnections()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url(), nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := e.transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		return answer.TLS.PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	ours.pair(t, "server")
	if serial() == before {
		t.Error("a new connection gets the old certificate")
	}
}

func TestAServerThatAnybodyMayCallListensOnThisMachineOnly(t *testing.T) {
	s, err := NewServer(ServerConfig{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context(), l); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("have %v, want that a token or an authority is missing", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("have %v, want a closed listener", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err = NewServer(ServerConfig{Security: Security{Token: goodToken}, Logger: quiet()}); err != nil {
		t.Fatal(err)
	}
	if l, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", "0.0.0.0:0"); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(ctx, l); err != nil {
		t.Errorf("with a token: have %v, want that it serves", err)
	}
}

func TestSettingsThatMakeNoSenseAreRefused(t *testing.T) {
	ours := newAuthority(t)
	cert, key := ours.pair(t, "server")
	for _, c := range []struct {
		name     string
		security Security
		want     string
	}{
		{"a short token", Security{Token: "guess"}, "at least 16"},
		{"a token with a line break", Security{Token: goodToken + "\nX: y"}, "white space"},
		{"a certificate without its key", Security{Cert: cert}, "want both"},
		{"an authority without a certificate", Security{CA: ours.ca}, "want a certificate"},
		{"a key that is not there", Security{Cert: cert, Key: key + "?"}, "no such file"},
		{"an authority that is none", Security{Cert: cert, Key: key, CA: key}, "no certificate"},
	} {
		if _, err := NewServer(ServerConfig{Security: c.security}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: have %v, want %q", c.name, err, c.want)
		}
	}
	for _, url := range []string{"", "127.0.0.1:1", "ftp://127.0.0.1:1", "http://", "http://user:secret@127.0.0.1:1", "http://127.0.0.1:1/path"} {
		if _, err := NewClient(ClientConfig{URLs: []string{url}}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: have %v, want an error without secrets", url, err)
		}
	}
	if _, err := NewClient(ClientConfig{}); err == nil {
		t.Error("a client without a URL is made")
	}
}

func clientTLS(t *testing.T, s Security) *tls.Config {
	t.Helper()
	config, err := s.client()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestReflectionNamesTheServicesToOurs(t *testing.T) {
	cfg := quick()
	cfg.Security = Security{Token: goodToken}
	s := serve(t, cfg, "", nil)
	names := func(token string) ([]string, error) {
		e, err := newEndpoint(&ClientConfig{DialTime: time.Minute, MaxBytes: 1 << 20}, s.url(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer e.transport.CloseIdleConnections()
		stream := grpcreflect.NewClient(&http.Client{Transport: bearer{token, e.transport}}, s.url(), connect.WithGRPC()).NewStream(t.Context())
		defer stream.Close() //nolint:errcheck // the answer is what counts
		services, err := stream.ListServices()
		var list []string
		for _, name := range services {
			list = append(list, string(name))
		}
		return list, err
	}
	list, err := names(goodToken)
	if err != nil || !strings.Contains(strings.Join(list, " "), pb.EdgeServiceName) {
		t.Errorf("have %v, %v, want the services", list, err)
	}
	if list, err = names("nothing"); err == nil {
		t.Errorf("a stranger is told %v", list)
	}
}

func TestMoreCallsThanThereIsRoomForAreRefusedUntouchedAndTriedAgain(t *testing.T) {
	p := newFakePool("one")
	p.block = make(chan struct{})
	cfg := quick()
	cfg.MaxCalls = 2
	s := serve(t, cfg, "", p)
	c := connected(t, ClientConfig{}, s.url())
	names := make(chan error, 5)
	for range 5 {
		go func() {
			_, err := whoServes(t.Context(), c)
			names <- err
		}()
	}
	<-p.held
	<-p.held
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := c.Builder().EntryPoints(short)
	if !errors.Is(err, node.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("have %v, want that there is no room, until the caller's time was over", err)
	}
	if len(p.held) != 0 {
		t.Errorf("have %d calls more than there is room for", len(p.held))
	}
	if err := c.Edge().Admit(t.Context(), pooled(1, 10), nil); err != nil {
		t.Errorf("have %v: builders take the room of the edge", err)
	}
	close(p.block)
	for range 5 {
		if err := <-names; err != nil {
			t.Errorf("have %v, want an answer in the end", err)
		}
	}
}

func TestHostileRequestsAreRefusedAndTheServerGoesOn(t *testing.T) {
	p := newFakePool("one")
	cfg := quick()
	cfg.MaxBytes = 64 << 10
	s := serve(t, cfg, "", p)
	e, err := newEndpoint(&ClientConfig{DialTime: time.Minute, MaxBytes: 1 << 20}, s.url(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.transport.CloseIdleConnections()
	framed := func(body []byte) []byte {
		return append([]byte{0, byte(len(body) >> 24), byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
	}
	post := func(path, kind string, body []byte) (status string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url()+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", kind)
		answer, err := e.transport.RoundTrip(r)
		if err != nil {
			return "closed"
		}
		defer answer.Body.Close()
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			return "closed"
		}
		if answer.StatusCode != http.StatusOK {
			return "http"
		}
		return answer.Trailer.Get("Grpc-Status") + answer.Header.Get("Grpc-Status")
	}
	const grpc = "application/grpc+proto"
	bomb := append([]byte{1, 0, 0, 0, 4}, []byte("bomb")...)
	for _, c := range []struct {
		name, path, kind string
		body             []byte
		want             string // gRPC status
	}{
		{"no protobuf", pb.EdgeServiceAdmitProcedure, grpc, framed([]byte{0xff, 0xff, 0xff}), "3"},
		{"an empty message", pb.EdgeServiceAdmitProcedure, grpc, framed(nil), "3"},
		{"a hash of one byte", pb.BuilderServiceReleaseProcedure, grpc, framed([]byte{0x12, 1, 7}), "3"},
		{"half a message", pb.EdgeServiceAdmitProcedure, grpc, []byte{0, 0, 0, 1, 0, 1, 2}, "13"},
		{"a large message", pb.EdgeServiceAdmitProcedure, grpc, framed(make([]byte, 128<<10)), "8"},
		{"a length that lies", pb.EdgeServiceAdmitProcedure, grpc, []byte{0, 0xff, 0xff, 0xff, 0xff}, "8"},
		{"compressed nonsense", pb.EdgeServiceAdmitProcedure, grpc, bomb, "13"},
		{"another kind of body", pb.EdgeServiceAdmitProcedure, "text/html", []byte("<p>"), "http"},
		{"an unknown method", "/baler.remote.v1.EdgeService/Steal", grpc, framed(nil), "http"},
		{"an unknown service", "/x/y", grpc, framed(nil), "http"},
	} {
		if have := post(c.path, c.kind, c.body); have != c.want {
			t.Errorf("%s: have status %q, want %q", c.name, have, c.want)
		}
	}
	if len(p.admitted) != 0 {
		t.Errorf("have %d operations admitted", len(p.admitted))
	}
	if have, err := whoServes(t.Context(), connected(t, ClientConfig{}, s.url())); err != nil || have != "one" {
		t.Errorf("the server is gone: %q, %v", have, err)
	}
}

func TestAPanicBehindTheServerEndsOneCall(t *testing.T) {
	p := newFakePool("one")
	s := serve(t, quick(), "", p)
	c := connected(t, ClientConfig{}, s.url())
	err := c.Builder().Drop(t.Context(), nil) // the fake has no such call
	if e, ok := errors.AsType[*Error](err); !ok || e.Cause != PeerFailed || errors.Is(err, node.ErrUnreachable) {
		t.Errorf("have %v, want that the pool's process has trouble of its own", err)
	}
	if have, err := whoServes(t.Context(), c); err != nil || have != "one" {
		t.Errorf("have %q, %v, want that it goes on", have, err)
	}
}
