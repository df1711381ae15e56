package dashboard

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"baler/bundlesender"
	"baler/event"

	"github.com/ethereum/go-ethereum/common"
)

// How often the documents are brought up to date while somebody looks.
const (
	settleTime = 100 * time.Millisecond // after an event, for those that come with it
	lookTime   = time.Second            // for what changes without one
	// A look at a large pool takes a while, and holds it up: it has this share of the time at most, one part in so many.
	poolShare = 20
)

// alertsShown is how many alerts the page shows.
const alertsShown = 40

// Dashboard is the live page of one bundler.
type Dashboard struct {
	bundler  Bundler
	operator Operator // nil: nobody can change anything
	log      *slog.Logger
	feed     *feed
	viewers  atomic.Int64
	wake     chan struct{}

	mu       sync.Mutex // of what the events fill
	ledger   *ledger
	alerts   []Alert
	arrivals *arrivals
	traffic  map[string]*traffic // by endpoint

	looking    sync.Mutex // of one look at the bundler
	looked     time.Time
	poolLooked time.Time
	poolTook   time.Duration
	signers    map[string]struct{} // documents of senders
	begun      bool                // the books of earlier processes are read
}

// Alert is something that needs a person.
type Alert struct {
	At     int64          `json:"at"` // unix milliseconds, the last time
	Block  uint64         `json:"block"`
	Signer common.Address `json:"signer"` // zero: about no sender in particular
	Kind   string         `json:"kind"`
	Text   string         `json:"text"`
	Times  int            `json:"times"` // in a row
}

// New returns a page that hears events. Tell it what to show with Show before anything else.
func New(log *slog.Logger) *Dashboard {
	return &Dashboard{
		log: log, feed: newFeed(ringSize), wake: make(chan struct{}, 1), ledger: newLedger(bundlesShown), traffic: make(map[string]*traffic),
		arrivals: newArrivals(arrivalsKept),
	}
}

// Show says which bundler the page shows, and who carries out what operators ask for; nil: nobody, the page is read-only.
// Then call Run to keep it live, and hand its handlers to a listener with Mount.
func (d *Dashboard) Show(bundler Bundler, operator Operator) {
	d.bundler, d.operator = bundler, operator
}

// Hear takes an event in. It does not wait. Events that come before Show are heard, too.
func (d *Dashboard) Hear(e event.Event) {
	now := time.Now().UnixMilli()
	d.mu.Lock()
	d.ledger.hear(e, now)
	d.arrivals.hear(e)
	switch e := e.(type) {
	case event.Alert:
		d.note(e, now)
	case event.NodeAsked:
		d.asked(e)
	default: // told by somebody else, or not at all
	}
	d.mu.Unlock()
	if _, asked := e.(event.NodeAsked); !asked { // there are many, and to show the page makes some
		d.nudge()
	}
}

func (d *Dashboard) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// note remembers an alert; one that only repeats the last of its signer and kind is counted. The caller has the lock.
func (d *Dashboard) note(e event.Alert, nowMS int64) {
	times := 1
	for i := range d.alerts {
		if a := &d.alerts[i]; a.Signer == e.Signer && a.Kind == e.Kind {
			times = a.Times + 1
			d.alerts = append(d.alerts[:i], d.alerts[i+1:]...)
			break
		}
	}
	d.alerts = append(d.alerts, Alert{At: nowMS, Block: d.ledger.head, Signer: e.Signer, Kind: e.Kind, Text: e.Text, Times: times})
	if len(d.alerts) > alertsShown {
		d.alerts = d.alerts[1:]
	}
}

// Run keeps the documents up to date until the context ends. While nobody looks it does nothing.
func (d *Dashboard) Run(ctx context.Context) {
	ticker := time.NewTicker(lookTime)
	defer ticker.Stop()
	settle := time.NewTimer(0)
	defer settle.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-d.wake:
			settle.Reset(settleTime)
			select {
			case <-ctx.Done():
				return
			case <-settle.C:
			}
		}
		if d.viewers.Load() > 0 {
			d.refresh(ctx)
		}
	}
}

// refresh brings every document up to date.
func (d *Dashboard) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	d.looking.Lock()
	defer d.looking.Unlock()
	if time.Since(d.looked) < settleTime {
		return // somebody else has just looked
	}
	defer func() { d.looked = time.Now() }()
	d.put("chain", d.bundler.Chain())
	d.put("machine", machine())
	if head, known := d.bundler.Head(ctx); known {
		d.put("head", head)
		d.recall()
	}
	d.refreshSenders(d.bundler.Senders(ctx))
	d.put("endpoints", d.endpoints(ctx))
	d.refreshBundles()
	if now := time.Now(); now.Sub(d.poolLooked) >= poolShare*d.poolTook {
		d.put("mempool", summarise(d.bundler.Mempool(), uint64(now.Unix()))) //nolint:gosec // after 1970
		d.poolLooked, d.poolTook = time.Now(), time.Since(now)
	}
}

// recall takes the newest transactions of the books once: an earlier process may have made them.
func (d *Dashboard) recall() {
	if d.begun {
		return
	}
	d.begun = true
	mined, _ := d.bundler.Books(bundlesShown)
	d.mu.Lock()
	d.ledger.begin(mined)
	d.mu.Unlock()
}

func (d *Dashboard) put(key string, value any) {
	if err := d.feed.put(key, value); err != nil {
		d.log.Error("the page misses a document", "err", err)
	}
}

// refreshSenders gives each sender a document of its own: most of them change seldom.
func (d *Dashboard) refreshSenders(senders []Sender) {
	order := make([]common.Address, len(senders))
	shown := make(map[string]struct{}, len(senders))
	for i := range senders {
		order[i] = senders[i].Signer
		key := "sender:" + strings.ToLower(senders[i].Signer.Hex()) // as it is written in JSON
		shown[key] = struct{}{}
		if senders[i].Attempts == nil {
			senders[i].Attempts = []Attempt{} // an empty array, not null
		}
		d.put(key, &senders[i])
	}
	for key := range d.signers {
		if _, still := shown[key]; !still {
			d.put(key, nil)
		}
	}
	d.signers = shown
	d.put("senders", order)
}

func (d *Dashboard) refreshBundles() {
	d.mu.Lock()
	changed, gone := d.ledger.changes()
	alerts := append([]Alert{}, d.alerts...)
	d.mu.Unlock()
	for i := range changed {
		d.put("bundle:"+changed[i].Hash.Hex(), &changed[i])
	}
	for _, hash := range gone {
		d.put("bundle:"+hash.Hex(), nil)
	}
	_, sums := d.bundler.Books(0)
	d.put("sums", sums)
	d.put("alerts", alerts)
}

// Machine is the picture of the bundle senders' state machine, from its own table.
type Machine struct {
	States []string `json:"states"`
	Arrows []Arrow  `json:"arrows"`
}

// Arrow leads from a state to a state.
type Arrow struct {
	From   string   `json:"from"`
	To     string   `json:"to"`
	Causes []string `json:"causes"`
}

func machine() Machine {
	var m Machine
	for _, state := range bundlesender.States() {
		m.States = append(m.States, state.String())
	}
	for _, a := range bundlesender.Arrows() {
		arrow := Arrow{From: a.From.String(), To: a.To.String()}
		for _, cause := range a.Causes {
			arrow.Causes = append(arrow.Causes, cause.String())
		}
		m.Arrows = append(m.Arrows, arrow)
	}
	return m
}
