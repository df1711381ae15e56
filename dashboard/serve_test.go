package dashboard_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"baler/dashboard"
	"baler/event"

	"github.com/ethereum/go-ethereum/common"
)

// reply is an answer without its body.
type reply struct {
	Status     string
	StatusCode int
	Header     http.Header
}

// request sends a request and returns the answer and its body.
func request(t *testing.T, method, url, body string, change func(*http.Request)) (reply, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if change != nil {
		change(r)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{answer.Status, answer.StatusCode, answer.Header}, string(text)
}

func asOperator(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }

func TestThePageHasNothingInlineAndAStrictPolicy(t *testing.T) {
	s := serve(t, busyBundler(), nil)
	answer, html := request(t, http.MethodGet, s.url+"/", "", nil)
	if kind := answer.Header.Get("Content-Type"); answer.StatusCode != http.StatusOK || kind != "text/html; charset=utf-8" {
		t.Fatalf("have %s %s", answer.Status, kind)
	}
	for what, pattern := range map[string]string{
		"a script inside": `<script[^>]*>[^<]`, "a style inside": `<style|\sstyle=`, "an event attribute": `\son[a-z]+=`, "another server": `(src|href)="(https?:)?//`,
	} {
		if found := regexp.MustCompile(pattern).FindString(html); found != "" {
			t.Errorf("the page has %s: %s", what, found)
		}
	}
	files := regexp.MustCompile(`(?:src|href)="(/page/[^"]+)"`).FindAllStringSubmatch(html, -1)
	if len(files) < 4 {
		t.Fatalf("have %v, want the page's files", files)
	}
	for _, file := range append(files, []string{"", "/"}, []string{"", "/page/api/snapshot"}, []string{"", "/page/vendor/uplot.js"}) {
		answer, _ := request(t, http.MethodGet, s.url+file[1], "", nil)
		policy := answer.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self';", "style-src 'self';", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: have policy %q, want %s in it", file[1], policy, want)
			}
		}
		if answer.StatusCode != http.StatusOK || answer.Header.Get("X-Content-Type-Options") != "nosniff" || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: have %s, %v", file[1], answer.Status, answer.Header)
		}
	}
}

// A page of another site can make its own name resolve to this address, and can send requests from a visitor's browser: neither
// shows it anything or changes anything.
func TestOtherSitesGetNothing(t *testing.T) {
	f := busyBundler()
	s := serve(t, f, f)
	rebound := func(r *http.Request) { r.Host = "evil.example" }
	for _, path := range []string{"/", "/page/app.js", "/page/api/snapshot", "/page/api/changes", "/page/api/operation?q=0x01"} {
		if answer, text := request(t, http.MethodGet, s.url+path, "", rebound); answer.StatusCode != http.StatusForbidden {
			t.Errorf("%s of a rebound name: have %s %s, want 403", path, answer.Status, text)
		}
	}
	body := `{"address":"` + f.senders[0].Signer.Hex() + `","paused":true}`
	for what, change := range map[string]func(*http.Request){
		"a rebound name": func(r *http.Request) { asOperator(r); rebound(r) },
		"another origin": func(r *http.Request) { asOperator(r); r.Header.Set("Origin", "http://evil.example") },
		"another site":   func(r *http.Request) { asOperator(r); r.Header.Set("Sec-Fetch-Site", "cross-site") },
	} {
		if answer, text := request(t, http.MethodPost, s.url+"/page/api/pause", body, change); answer.StatusCode != http.StatusForbidden {
			t.Errorf("%s: have %s %s, want 403", what, answer.Status, text)
		}
	}
	if did := f.acted(); len(did) > 0 {
		t.Errorf("have %q done", did)
	}
}

func TestOnlyOperatorsActAndOnlyOnWhatIsThere(t *testing.T) {
	f := busyBundler()
	s := serve(t, f, f)
	signer := f.senders[1].Signer.Hex()
	known, unknown := `{"address":"`+signer+`"}`, `{"address":"`+common.Address{0xdd}.Hex()+`"}`
	for _, c := range []struct {
		what, path, body string
		change           func(*http.Request)
		status           int
	}{
		{"without a token", "cancel", known, nil, http.StatusUnauthorized},
		{"with a wrong token", "cancel", known, func(r *http.Request) { r.Header.Set("Authorization", "Bearer nonsense") }, http.StatusUnauthorized},
		{"a key of nobody", "cancel", unknown, asOperator, http.StatusNotFound},
		{"no address", "cancel", `{}`, asOperator, http.StatusBadRequest},
		{"an unknown field", "cancel", `{"address":"` + signer + `","all":true}`, asOperator, http.StatusBadRequest},
		{"not JSON", "cancel", `address=` + signer, asOperator, http.StatusBadRequest},
		{"a form", "cancel", known, func(r *http.Request) { asOperator(r); r.Header.Set("Content-Type", "text/plain") }, http.StatusUnsupportedMediaType},
		{"neither to pause nor to resume", "pause", known, asOperator, http.StatusConflict},
		{"an act that there is not", "explode", known, asOperator, http.StatusNotFound},
		{"an operator cancels", "cancel", known, asOperator, http.StatusOK},
		{"an operator pauses", "pause", `{"address":"` + signer + `","paused":true}`, asOperator, http.StatusOK},
		{"an operator drains", "drain", known, asOperator, http.StatusOK},
		{"an operator bans", "ban", unknown, asOperator, http.StatusOK},
	} {
		if answer, text := request(t, http.MethodPost, s.url+"/page/api/"+c.path, c.body, c.change); answer.StatusCode != c.status {
			t.Errorf("%s: have %s %s, want %d", c.what, answer.Status, text, c.status)
		}
	}
	want := []string{"cancel " + signer, "pause " + signer, "drain " + signer, "ban " + common.Address{0xdd}.Hex()}
	if did := f.acted(); strings.Join(did, ";") != strings.Join(want, ";") {
		t.Errorf("have %q done, want %q", did, want)
	}
	readOnly := serve(t, f, nil)
	if answer, _ := request(t, http.MethodPost, readOnly.url+"/page/api/cancel", known, asOperator); answer.StatusCode == http.StatusOK {
		t.Error("a page without an operator acts")
	}
}

func TestASearchFindsOperationsAndAccounts(t *testing.T) {
	f := busyBundler()
	account, hash, refused := address(7), common.Hash{0xaa}, common.Hash{0xbb}
	f.operations = map[common.Hash]*dashboard.Operation{
		hash:    {Hash: hash, State: "included", Sender: &account},
		refused: {Hash: refused, State: "rejected", Rule: "OP-011"},
	}
	s := serve(t, f, nil)
	s.page.Hear(event.OperationReceived{Hash: refused, Sender: account, EntryPoint: common.Address{0x71}})
	for _, c := range []struct {
		q      string
		status int
		parts  []string
	}{
		{hash.Hex(), http.StatusOK, []string{`"state":"included"`}},
		{strings.ToUpper(refused.Hex())[2:], http.StatusBadRequest, nil},
		{"0x" + strings.ToUpper(refused.Hex())[2:], http.StatusOK, []string{`"rule":"OP-011"`, strings.ToLower(account.Hex())}}, // its account is known from its arrival
		{"%20" + account.Hex() + "%20", http.StatusOK, []string{hash.Hex(), refused.Hex()}},
		{common.Hash{1}.Hex(), http.StatusNotFound, []string{"no operation"}},
		{common.Address{1}.Hex(), http.StatusNotFound, []string{"no operation"}},
		{"", http.StatusBadRequest, []string{"neither"}},
		{"0x12g4", http.StatusBadRequest, []string{"neither"}},
	} {
		answer, text := request(t, http.MethodGet, s.url+"/page/api/operation?q="+c.q, "", nil)
		if answer.StatusCode != c.status {
			t.Errorf("%q: have %s %s, want %d", c.q, answer.Status, text, c.status)
		}
		for _, part := range c.parts {
			if !strings.Contains(text, part) {
				t.Errorf("%q: have %s, want %s in it", c.q, text, part)
			}
		}
	}
}

// stream reads server-sent events.
type stream struct {
	t       *testing.T
	answer  *http.Response
	scanner *bufio.Scanner
}

func listen(t *testing.T, url, last string) *stream {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	s := &stream{t: t, answer: answer, scanner: bufio.NewScanner(answer.Body)}
	s.scanner.Buffer(nil, 10<<20)
	return s
}

// next returns the next event, its id and its data.
func (s *stream) next() (name, id, data string) {
	s.t.Helper()
	for s.scanner.Scan() {
		field, value, _ := strings.Cut(s.scanner.Text(), ": ")
		switch field {
		case "event":
			name = value
		case "id":
			id = value
		case "data":
			data = value
		case "":
			if name != "" {
				return name, id, data
			}
		}
	}
	s.t.Fatalf("the stream has ended: %v", s.scanner.Err())
	return "", "", ""
}

// until reads events until one is about the document, and returns its id and data.
func (s *stream) until(key string) (id, data string) {
	s.t.Helper()
	for {
		name, id, data := s.next()
		if name == "change" && strings.Contains(data, `"key":"`+key+`"`) {
			return id, data
		}
		if name == "snapshot" {
			s.t.Fatalf("have a snapshot, want a change of %s", key)
		}
	}
}

func TestAReaderGoesOnWhereItWasAndBeginsAgainWhereThatIsForgotten(t *testing.T) {
	f := busyBundler()
	s := serve(t, f, nil)
	_, text := request(t, http.MethodGet, s.url+"/page/api/snapshot", "", nil)
	var first struct {
		ID   string                     `json:"id"`
		Docs map[string]json.RawMessage `json:"docs"`
	}
	if err := json.Unmarshal([]byte(text), &first); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"chain", "head", "machine", "senders", "mempool", "endpoints", "sums", "alerts", "sender:" + strings.ToLower(address(1).Hex())} {
		if first.Docs[key] == nil {
			t.Errorf("the snapshot has no document %s", key)
		}
	}
	live := listen(t, s.url+"/page/api/changes?after="+first.ID, "")
	if kind := live.answer.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatalf("have %s", kind)
	}
	f.set(func(f *fakeBundler) { f.senders[0].State = "Pending" })
	s.page.Hear(event.HeadSeen{Number: 1})
	id, data := live.until("sender:" + strings.ToLower(address(1).Hex()))
	if !strings.Contains(data, `"state":"Pending"`) {
		t.Errorf("have %s, want the new state", data)
	}
	_ = live.answer.Body.Close()

	f.set(func(f *fakeBundler) { f.senders[1].Cause = "timed out" })
	back := listen(t, s.url+"/page/api/changes?after="+first.ID, id) // what the browser says counts, not what the page began with
	// Other documents may have changed meanwhile too; a snapshot instead of changes would fail the test.
	if _, data = back.until("sender:" + strings.ToLower(address(2).Hex())); !strings.Contains(data, `"cause":"timed out"`) {
		t.Errorf("have %s, want what has changed since", data)
	}
	for _, forgotten := range []string{"other-5", "nonsense", ""} {
		if name, _, data := listen(t, s.url+"/page/api/changes", forgotten).next(); name != "snapshot" || !strings.Contains(data, `"cause":"timed out"`) {
			t.Errorf("after %q: have %s %s, want everything", forgotten, name, data)
		}
	}
}

func TestAPageThatNobodyLooksAtCostsNothing(t *testing.T) {
	f := busyBundler()
	s := serve(t, f, nil)
	for range 100 {
		s.page.Hear(event.HeadSeen{Number: 1})
	}
	request(t, http.MethodGet, s.url+"/page/app.js", "", nil)
	f.set(func(f *fakeBundler) {
		if f.looks != 0 {
			t.Errorf("the bundler was looked at %d times", f.looks)
		}
	})
	request(t, http.MethodGet, s.url+"/page/api/snapshot", "", nil)
	f.set(func(f *fakeBundler) {
		if f.looks != 1 {
			t.Errorf("for one reader the bundler was looked at %d times", f.looks)
		}
	})
}

func TestOpenPagesAreBounded(t *testing.T) {
	s := serve(t, busyBundler(), nil)
	var open []*stream
	for range 64 {
		open = append(open, listen(t, s.url+"/page/api/changes", ""))
	}
	for _, each := range open {
		each.next()
	}
	if answer, _ := request(t, http.MethodGet, s.url+"/page/api/changes", "", nil); answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("have %s, want 503", answer.Status)
	}
}
