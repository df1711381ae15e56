package edge

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Access says who may use what is mounted on a [Server].
type Access uint8

// The accesses.
const (
	// Open: everybody who reaches the listener. For what says nothing: probes, the page's own files.
	Open Access = iota
	// Read: on a loopback listener everybody, elsewhere those who have proved who they are.
	Read
	// Act: those who have proved who they are, and nobody where there is no way to prove it.
	Act
)

// How a token may be tried, how long a page stays logged in, and how many pages may be.
const (
	failuresPerSecond = 0.2
	failuresAtOnce    = 10
	sessionTime       = 12 * time.Hour
	maxSessions       = 64
)

// sessionCookie holds the id of a page's session: a browser's EventSource cannot send an Authorization header.
const sessionCookie = "baler_session"

// authority knows who a request comes from.
type authority struct {
	token    *[sha256.Size]byte // of the operators' token; nil: there is none
	failures *Rates[netip.Addr]
	now      func() time.Time

	mu       sync.Mutex
	sessions map[[sha256.Size]byte]time.Time // by the id's hash, until when
}

func newAuthority(token string, now func() time.Time) *authority {
	a := &authority{
		failures: newRates[netip.Addr](Rate{failuresPerSecond, failuresAtOnce}, now), now: now,
		sessions: make(map[[sha256.Size]byte]time.Time),
	}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		a.token = &sum
	}
	return a
}

// proof is what a request proves.
type proof uint8

const (
	proved    proof = iota
	unproved        // nothing, or something wrong
	exhausted       // its address has tried too many wrong tokens: not even looked at
)

// prove looks at the client certificate, the token and the session of a request.
func (a *authority) prove(r *http.Request) proof {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return proved
	}
	if token, given := bearer(r); given {
		return a.try(r, token)
	}
	if cookie, err := r.Cookie(sessionCookie); err == nil && a.known(cookie.Value) {
		return proved
	}
	return unproved
}

// try compares a token. Both sides are hashed first, so that neither its length nor its beginning shows in the time.
func (a *authority) try(r *http.Request, token string) proof {
	from := AddrOf(r.RemoteAddr)
	if a.failures.Exhausted(from) {
		return exhausted
	}
	sum := sha256.Sum256([]byte(token))
	if a.token != nil && subtle.ConstantTimeCompare(sum[:], a.token[:]) == 1 {
		return proved
	}
	a.failures.Allow(from)
	return unproved
}

func bearer(r *http.Request) (string, bool) {
	scheme, token, found := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), found && strings.EqualFold(scheme, "Bearer")
}

// open starts a session and returns its id.
func (a *authority) open() string {
	id := rand.Text()
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	var oldest [sha256.Size]byte
	for key, until := range a.sessions {
		if until.Before(now) {
			delete(a.sessions, key)
		} else if first := a.sessions[oldest]; first.IsZero() || until.Before(first) {
			oldest = key
		}
	}
	if len(a.sessions) >= maxSessions {
		delete(a.sessions, oldest)
	}
	a.sessions[sha256.Sum256([]byte(id))] = now.Add(sessionTime)
	return id
}

func (a *authority) known(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	until, known := a.sessions[sha256.Sum256([]byte(id))]
	return known && a.now().Before(until)
}

func (a *authority) end(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.sessions, sha256.Sum256([]byte(id)))
}

// serveSession is /session: POST with the token starts a session and sets its cookie, DELETE ends it, GET says whether the
// request is from an operator.
func (a *authority) serveSession(w http.ResponseWriter, r *http.Request) {
	cookie := &http.Cookie{Name: sessionCookie, Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode}
	switch r.Method {
	case http.MethodGet:
		writeJSON(w, http.StatusOK, map[string]bool{"operator": a.prove(r) == proved, "possible": a.token != nil})
	case http.MethodPost:
		if _, given := bearer(r); !given || a.prove(r) != proved {
			refuse(w, unproved)
			return
		}
		cookie.Value, cookie.MaxAge = a.open(), int(sessionTime/time.Second)
		http.SetCookie(w, cookie)
		w.WriteHeader(http.StatusNoContent)
	case http.MethodDelete:
		if given, err := r.Cookie(sessionCookie); err == nil {
			a.end(given.Value)
		}
		cookie.MaxAge = -1
		http.SetCookie(w, cookie)
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Allow", "GET, POST, DELETE")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	}
}

// RandomToken returns a token that nobody can guess.
func RandomToken() string {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
