package dashboard

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"baler/edge"

	"github.com/ethereum/go-ethereum/common"
)

// pageFiles are the page itself, without a build step.
//
//go:embed page
var pageFiles embed.FS

// The bounds of what readers take.
const (
	maxViewers   = 64
	heartbeat    = 15 * time.Second // a comment, so that a dead connection is noticed
	writePatient = 10 * time.Second // for one piece of the stream
	maxBody      = 4 << 10          // bytes of an operator's call
	foundShown   = 50               // operations of an account
)

// policy is the page's Content-Security-Policy: its own files and nothing else, no inline script, and no text that becomes
// markup (Trusted Types), so that what came from outside cannot do anything even if the page had a mistake.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Mount hands the page's handlers to the operators' listener: its files are for everybody who reaches it, what it shows for
// readers, what it changes for operators.
func (d *Dashboard) Mount(s *edge.Server) {
	s.Handle("GET /{$}", edge.Open, d.file("index.html"))
	files, err := fs.Sub(pageFiles, "page")
	if err != nil {
		panic(err) // the folder is embedded: a mistake in this package
	}
	_ = fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && name != "index.html" {
			s.Handle("GET /page/"+name, edge.Open, d.file(name))
		}
		return err
	})
	s.Handle("GET /page/api/snapshot", edge.Read, secured(d.serveSnapshot))
	s.Handle("GET /page/api/changes", edge.Read, secured(d.serveChanges))
	s.Handle("GET /page/api/operation", edge.Read, secured(d.serveOperation))
	if d.operator != nil {
		s.Handle("POST /page/api/pause", edge.Act, secured(d.serveAct(d.pause)))
		s.Handle("POST /page/api/cancel", edge.Act, secured(d.serveAct(d.cancel)))
		s.Handle("POST /page/api/drain", edge.Act, secured(d.serveAct(d.drain)))
		s.Handle("POST /page/api/ban", edge.Act, secured(d.serveAct(d.ban)))
	}
}

func secured(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store") // another version of the program may stand at the same address next time
		next(w, r)
	})
}

// file serves one embedded file.
func (d *Dashboard) file(name string) http.Handler {
	return secured(func(w http.ResponseWriter, _ *http.Request) {
		content, err := pageFiles.ReadFile("page/" + name)
		if err != nil {
			http.Error(w, "not found", http.StatusNotFound)
			return
		}
		kind := mime.TypeByExtension(path.Ext(name))
		switch path.Ext(name) { // what the machine's own table says is not the same everywhere
		case ".js":
			kind = "text/javascript; charset=utf-8"
		case ".css":
			kind = "text/css; charset=utf-8"
		case "":
			kind = "text/plain; charset=utf-8"
		}
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(content) // a client that does not listen any more is no failure
	})
}

// snapshot is all documents, and where to go on.
type snapshot struct {
	ID   string                     `json:"id"`
	Docs map[string]json.RawMessage `json:"docs"`
}

func (d *Dashboard) takeSnapshot() snapshot {
	docs, last := d.feed.snapshot()
	return snapshot{d.feed.id(last), docs}
}

func (d *Dashboard) serveSnapshot(w http.ResponseWriter, r *http.Request) {
	d.refresh(r.Context())
	answer(w, http.StatusOK, d.takeSnapshot())
}

// serveChanges streams changes as server-sent events, from the one after the reader's last: the header Last-Event-ID, which a
// browser sends when it comes back, or else the parameter after. Where that is not known any more it begins with a snapshot.
func (d *Dashboard) serveChanges(w http.ResponseWriter, r *http.Request) {
	if d.viewers.Add(1) > maxViewers {
		d.viewers.Add(-1)
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	defer d.viewers.Add(-1)
	d.refresh(r.Context())
	id := r.Header.Get("Last-Event-ID")
	if id == "" {
		id = r.URL.Query().Get("after")
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	out := &stream{w: w, control: http.NewResponseController(w)}
	number, known := d.feed.number(id)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		changes, ok, later := d.feed.since(number)
		if !known || !ok {
			docs, last := d.feed.snapshot()
			out.send("snapshot", d.feed.id(last), snapshot{d.feed.id(last), docs})
			number, known, changes = last, true, nil
		}
		for i := range changes {
			out.send("change", d.feed.id(changes[i].ID), &changes[i])
			number = changes[i].ID
		}
		if out.flush(); out.err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-later:
		case <-beat.C:
			out.comment()
		}
	}
}

// stream writes server-sent events, until one cannot be written.
type stream struct {
	w       io.Writer
	control *http.ResponseController
	err     error
}

func (s *stream) send(event, id string, value any) {
	text, err := json.Marshal(value) // one line: JSON escapes line breaks
	if s.err == nil {
		s.err = err
	}
	s.printf("event: %s\nid: %s\ndata: %s\n\n", event, id, text)
}

func (s *stream) comment() { s.printf(": still here\n\n") }

func (s *stream) printf(format string, args ...any) {
	if s.err == nil {
		s.err = s.control.SetWriteDeadline(time.Now().Add(writePatient))
	}
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.w, format, args...)
	}
}

// flush sends what is written, and leaves time for the next piece to come.
func (s *stream) flush() {
	if s.err == nil {
		s.err = s.control.Flush()
	}
	if s.err == nil {
		s.err = s.control.SetWriteDeadline(time.Now().Add(heartbeat + writePatient))
	}
}

// found is the answer to a search: one operation, or the operations of an account.
type found struct {
	Operation *Operation    `json:"operation,omitempty"`
	Account   string        `json:"account,omitempty"`
	Hashes    []common.Hash `json:"hashes,omitempty"`
}

// serveOperation looks for q: an operation's hash, or an account.
func (d *Dashboard) serveOperation(w http.ResponseWriter, r *http.Request) {
	q := strings.TrimSpace(r.URL.Query().Get("q"))
	digits, isHex := strings.CutPrefix(strings.ToLower(q), "0x")
	isHex = isHex && strings.Trim(digits, "0123456789abcdef") == ""
	switch {
	case isHex && len(digits) == 2*common.HashLength:
		op, err := d.operation(r.Context(), common.HexToHash(q))
		if err != nil {
			d.log.Warn("looking for an operation failed", "hash", q, "err", err)
			refuse(w, http.StatusBadGateway, "the node did not answer: what became of the operation is not known now")
			return
		}
		if op == nil {
			refuse(w, http.StatusNotFound, "no operation with this hash is known")
			return
		}
		answer(w, http.StatusOK, found{Operation: op})
	case isHex && len(digits) == 2*common.AddressLength:
		account := common.HexToAddress(q)
		hashes := d.operationsOf(account)
		if len(hashes) == 0 {
			refuse(w, http.StatusNotFound, "no operation of this account is known")
			return
		}
		answer(w, http.StatusOK, found{Account: account.Hex(), Hashes: hashes})
	default:
		refuse(w, http.StatusBadRequest, "this is neither the hash of an operation (0x and 64 digits) nor an account (0x and 40)")
	}
}

// operation is what the bundler knows of an operation, and where it came from: that is known of refused ones, too.
func (d *Dashboard) operation(ctx context.Context, hash common.Hash) (*Operation, error) {
	op, err := d.bundler.Operation(ctx, hash)
	if err != nil || op == nil || op.Sender != nil {
		return op, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if came, known := d.arrivals.find(hash); known {
		op.Sender, op.EntryPoint, op.Nonce = &came.sender, &came.entryPoint, came.nonce.Hex()
	}
	return op, nil
}

// operationsOf are the operations of an account that came in to this process, and those that the bundler remembers.
func (d *Dashboard) operationsOf(account common.Address) []common.Hash {
	d.mu.Lock()
	hashes := d.arrivals.of(account, foundShown)
	d.mu.Unlock()
	for _, hash := range d.bundler.OperationsOf(account, foundShown) {
		if len(hashes) < foundShown && !slices.Contains(hashes, hash) {
			hashes = append(hashes, hash)
		}
	}
	return hashes
}

// act is one call of an operator. Address is a bundle sender's key, or the entity to ban.
type act struct {
	Address *common.Address `json:"address"`
	Paused  *bool           `json:"paused"`
}

// serveAct reads an operator's call and answers with what was done.
func (d *Dashboard) serveAct(do func(context.Context, act) (string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
			refuse(w, http.StatusUnsupportedMediaType, "the call is JSON: Content-Type: application/json")
			return
		}
		decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		decoder.DisallowUnknownFields()
		var call act
		if err := decoder.Decode(&call); err != nil || call.Address == nil {
			refuse(w, http.StatusBadRequest, "the call is not understood: want an object with an address")
			return
		}
		done, err := do(r.Context(), call)
		switch {
		case errors.Is(err, ErrNotFound):
			refuse(w, http.StatusNotFound, err.Error())
		case err != nil:
			refuse(w, http.StatusConflict, err.Error())
		default:
			d.log.Warn("an operator acted on the page", "path", r.URL.Path, "address", *call.Address, "done", done, "from", r.RemoteAddr)
			d.nudge()
			answer(w, http.StatusOK, map[string]string{"done": done})
		}
	}
}

func (d *Dashboard) pause(ctx context.Context, call act) (string, error) {
	if call.Paused == nil {
		return "", errors.New("want paused: true or false")
	}
	if err := d.operator.Pause(ctx, *call.Address, *call.Paused); err != nil {
		return "", err
	}
	if *call.Paused {
		return "paused: it proposes no bundle until it is resumed", nil
	}
	return "resumed", nil
}

func (d *Dashboard) cancel(ctx context.Context, call act) (string, error) {
	return "asked to cancel what waits at its nonce", d.operator.CancelNow(ctx, *call.Address)
}

func (d *Dashboard) drain(ctx context.Context, call act) (string, error) {
	return "draining: it finishes what it has out and goes out of service", d.operator.DrainKey(ctx, *call.Address)
}

func (d *Dashboard) ban(ctx context.Context, call act) (string, error) {
	removed, err := d.operator.Ban(ctx, *call.Address)
	return fmt.Sprintf("banned; %d of its operations left the pool", removed), err
}

func refuse(w http.ResponseWriter, status int, text string) {
	answer(w, status, map[string]string{"error": text})
}

func answer(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"the answer has no JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that does not listen any more is no failure
}
