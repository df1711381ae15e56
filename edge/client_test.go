package edge

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestOnlyTrustedProxiesSayWhoTheClientIs(t *testing.T) {
	t.Parallel()
	proxies, err := ParseProxies([]string{"10.0.0.0/8", "192.0.2.9", "fd00::/8"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"no proxy", "198.51.100.1:5", nil, "198.51.100.1:5"},
		{"a client that claims to be another", "198.51.100.1:5", []string{"203.0.113.7"}, "198.51.100.1:5"},
		{"one proxy", "10.1.1.1:5", []string{"203.0.113.7"}, "203.0.113.7:5"},
		{"what the client wrote stands before", "10.1.1.1:5", []string{"127.0.0.1, 203.0.113.7"}, "203.0.113.7:5"},
		{"two proxies", "10.1.1.1:5", []string{"203.0.113.7, 192.0.2.9"}, "203.0.113.7:5"},
		{"two headers", "10.1.1.1:5", []string{"1.1.1.1", "203.0.113.7"}, "203.0.113.7:5"},
		{"proxies only", "10.1.1.1:5", []string{"10.2.2.2"}, "10.1.1.1:5"},
		{"a proxy that says nothing", "10.1.1.1:5", nil, "10.1.1.1:5"},
		{"nonsense", "10.1.1.1:5", []string{"203.0.113.7, unknown"}, "10.1.1.1:5"},
		{"IPv6", "[fd00::1]:5", []string{"2001:db8::7"}, "[2001:db8::7]:5"},
		{"no address", "pipe", []string{"203.0.113.7"}, "pipe"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.RemoteAddr = test.peer
		for _, header := range test.forwarded {
			r.Header.Add("X-Forwarded-For", header)
		}
		if have := proxies.Client(r); have != test.want {
			t.Errorf("%s: have %s, want %s", test.name, have, test.want)
		}
	}
	if _, err := ParseProxies([]string{"everybody"}); err == nil {
		t.Error("a network of no sort was taken")
	}
}
