package rpc

import (
	"context"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"baler/rejection"

	"github.com/ethereum/go-ethereum/rpc"
)

// page documents every method.
const page = "../docs/rpc.md"

// TestPageShowsWhatTheServerAnswers plays the page's examples.
func TestPageShowsWhatTheServerAnswers(t *testing.T) {
	t.Parallel()
	backend := newFakeBackend()
	playScript(t, serve(t, backend, Config{Debug: backend, Admin: backend, Baler: backend}).url, page)
}

// TestPageNamesEveryMethod compares the page's headings with the methods that the server has registered, and wants an
// example under each that a request can reach.
func TestPageNamesEveryMethod(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for section := range strings.SplitSeq(string(content), "\n### `") {
		name, text, ok := strings.Cut(section, "`")
		if !ok || !strings.Contains(name, "_") || strings.Contains(name, " ") {
			continue // what is before the first method
		}
		documented = append(documented, name)
		for _, part := range []string{"**Params:**", "**Answer:**"} {
			if !strings.Contains(text, part) {
				t.Errorf("%s: the page lacks its %s", name, part)
			}
		}
		if !strings.HasSuffix(name, "subscribe") && !strings.Contains(text, `"method":"`+name+`"`) {
			t.Errorf("%s: the page lacks an example", name)
		}
	}
	registered := methods(t)
	slices.Sort(documented)
	slices.Sort(registered)
	if !slices.Equal(documented, registered) {
		t.Errorf("methods:\ndocumented %v\nregistered %v", documented, registered)
	}
	for _, topic := range []Topic{TopicOperations, TopicBundles, TopicSenders} {
		if !strings.Contains(string(content), "- `"+string(topic)+"`: ") {
			t.Errorf("the page does not describe the topic %s", topic)
		}
	}
}

// methods lists what the server registers when everything is configured, by the rules of go-ethereum's server: exported
// methods with a lower-case first letter; those that return a subscription are behind subscribe.
func methods(t *testing.T) []string {
	t.Helper()
	backend := newFakeBackend()
	s := NewServer(backend, Config{Debug: backend, Admin: backend, Baler: backend, Watch: &fakeWatcher{}})
	var names []string
	for _, api := range s.services(&calls{}) {
		for method := range reflect.TypeOf(api.methods).Methods() {
			if method.Type.NumOut() > 0 && method.Type.Out(0) == reflect.TypeFor[*rpc.Subscription]() {
				if method.Type.NumIn() != 2 || method.Type.In(1) != reflect.TypeFor[context.Context]() {
					t.Fatalf("%s is no subscription for go-ethereum's server", method.Name)
				}
				names = append(names, api.namespace+"_subscribe", api.namespace+"_unsubscribe")
				continue
			}
			name := []rune(method.Name)
			name[0] = unicode.ToLower(name[0])
			names = append(names, api.namespace+"_"+string(name))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// TestPageExplainsEveryCode wants a row for each error code that a client can see.
func TestPageExplainsEveryCode(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var have []int
	for _, row := range regexp.MustCompile(`(?m)^\| (-32\d\d\d) \|`).FindAllStringSubmatch(string(content), -1) {
		code, err := strconv.Atoi(row[1])
		if err != nil {
			t.Fatal(err)
		}
		have = append(have, code)
	}
	want := []int{codeParse, codeInvalidRequest, codeNoMethod, codeInvalidParams, codeInternal, codeServer, codeTimeout, codeLimitExceeded}
	for _, kind := range []rejection.Kind{
		rejection.EntryPointRejected, rejection.PaymasterRejected, rejection.OpcodeViolation, rejection.OutOfTimeRange, rejection.Throttled,
		rejection.StakeTooLow, rejection.UnsupportedSigAggr, rejection.InvalidSignature, rejection.PaymasterDepositLow, rejection.ExecutionReverted,
	} {
		want = append(want, int(kind))
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("codes:\nhave %v\nwant %v", have, want)
	}
}

// codeNoMethod is go-ethereum's answer to an unknown method.
const codeNoMethod = -32601
