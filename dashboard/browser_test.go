package dashboard_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// browser is a tab of a real Chromium, and what the page complained about.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	complaints []string
	stream     []streamed // what its EventSource received, oldest first
}

// streamed is one server-sent event as the browser received it.
type streamed struct{ name, id string }

// process is the part of its id that is a process's own.
func (s streamed) process() string {
	process, _, _ := strings.Cut(s.id, "-")
	return process
}

// number is the part that counts changes.
func (s streamed) number() int {
	_, digits, _ := strings.Cut(s.id, "-")
	number, _ := strconv.Atoi(digits)
	return number
}

// open opens the page in a new Chromium. Whatever its console says at the test's end as a warning or an error fails the test.
func open(t *testing.T, url string) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.WindowSize(1440, 1000))
	allocator, stop := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	t.Cleanup(stop)
	ctx, end := chromedp.NewContext(allocator)
	b := &browser{t: t, ctx: ctx}
	t.Cleanup(func() {
		end()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, complaint := range b.complaints {
			t.Errorf("the page complains: %s", complaint)
		}
	})
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatalf("Chromium does not start (scripts/install-test-deps.sh installs it): %v", err)
	}
	b.do(chromedp.Navigate(url))
	return b
}

func (b *browser) hear(e any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := e.(type) {
	case *network.EventEventSourceMessageReceived:
		b.stream = append(b.stream, streamed{e.EventName, e.EventID})
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if thrown := e.ExceptionDetails.Exception; thrown != nil {
			text += " " + thrown.Description
		}
		b.complaints = append(b.complaints, text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			b.complaints = append(b.complaints, fmt.Sprintf("console: %s %s", e.Args[0].Value, e.Args[0].Description))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			b.complaints = append(b.complaints, e.Entry.Text+" "+e.Entry.URL)
		}
	}
}

// forgive takes back the complaints that the test has provoked: those with one of these parts. There must be some.
func (b *browser) forgive(parts ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(b.complaints), func(complaint string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(complaint, part) })
	})
	if len(left) == len(b.complaints) {
		b.t.Errorf("the page does not complain about %q; it says %q", parts, b.complaints)
	}
	b.complaints = left
}

// received returns what the page's EventSource has received since the last call.
func (b *browser) received() []streamed {
	b.mu.Lock()
	defer b.mu.Unlock()
	stream := b.stream
	b.stream = nil
	return stream
}

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatalf("browser: %v", err)
	}
}

// eval runs a script and returns its value.
func eval[T any](b *browser, script string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("browser: %s: %v", script, err)
	}
	return value
}

// click clicks an element, as a script does: wherever it is on the page.
func (b *browser) click(selector string) {
	b.t.Helper()
	b.until("there is "+selector, fmt.Sprintf("document.querySelector(%q) && !document.querySelector(%q).disabled", selector, selector), "document.body.innerText")
	eval[bool](b, fmt.Sprintf("(document.querySelector(%q).click(), true)", selector))
}

// sees waits until the text of an element holds what is wanted.
func (b *browser) sees(selector, want string) {
	b.t.Helper()
	b.until(fmt.Sprintf("%s shows %q", selector, want), fmt.Sprintf("(document.querySelector(%q)?.innerText ?? '').includes(%q)", selector, want),
		fmt.Sprintf("document.querySelector(%q)?.innerText ?? 'nothing'", selector))
}

// until waits until a script is true; else it says what another script says.
func (b *browser) until(what, script, otherwise string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		if holds, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+script+")")); err == nil && holds {
			return
		}
		select {
		case <-ctx.Done():
			b.t.Fatalf("%s: it does not; have %q", what, eval[string](b, "String("+otherwise+")"))
		case <-ticker.C:
		}
	}
}

// hush waits until the page has nothing to tell in passing any more.
func (b *browser) hush() {
	b.t.Helper()
	b.until("the page has said what it had to", "!document.querySelector('#told').classList.contains('shown')", "document.querySelector('#told').innerText")
}

// view keeps a picture of what fits into the window.
func (b *browser) view(name string) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatalf("browser: %v", err)
	}
	if err := os.WriteFile(filepath.Join(artifacts(b.t), name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// size makes the window so large, and its colour scheme light or dark.
func (b *browser) size(width, height int64, scheme string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: 1.5, Mobile: width < 600,
	})
	if err == nil {
		_, err = chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
	}
	if err != nil {
		b.t.Fatalf("browser: %v", err)
	}
}

// artifacts is the folder for the pictures that the tests take: BALER_ARTIFACTS, or a temporary one that the test names.
func artifacts(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("BALER_ARTIFACTS")
	if dir == "" {
		dir = filepath.Join(os.TempDir(), "baler-page")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// picture keeps a picture of the whole page.
func (b *browser) picture(name string) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatalf("browser: %v", err)
	}
	path := filepath.Join(artifacts(b.t), name+".png")
	if err := os.WriteFile(path, png, 0o644); err != nil {
		b.t.Fatal(err)
	}
	b.t.Logf("picture: %s", path)
}
