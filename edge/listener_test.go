package edge

import (
	"net"
	"testing"
)

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a listener of the test
	if err != nil {
		t.Fatal(err)
	}
	l := LimitConnections(inner, 1, 0)
	dial := func() net.Conn {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	defer dial().Close()
	first, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer dial().Close()
	accepted := make(chan net.Conn)
	go func() {
		conn, _ := l.Accept()
		accepted <- conn
	}()
	select {
	case <-accepted:
		t.Fatal("a second connection was accepted")
	default:
	}
	_ = first.Close()
	_ = first.Close() // gives its place back once only
	second := <-accepted
	if second == nil {
		t.Fatal("the place of a closed connection was not given on")
	}
	go func() {
		conn, _ := l.Accept() // waits for a place …
		accepted <- conn
	}()
	_ = l.Close() // … and is woken
	if conn := <-accepted; conn != nil {
		t.Error("a closed listener accepted a connection")
	}
	_ = second.Close()
}
