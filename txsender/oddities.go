package txsender

import (
	"log/slog"
	"regexp"
	"sync"
)

// maxOddities is how many different texts are remembered. Beyond, all further ones are taken for known: an endpoint that
// invents texts must not fill memory and log.
const maxOddities = 256

// oddities logs each answer that the table does not know once, with its text. A nil *oddities logs nothing.
type oddities struct {
	log *slog.Logger

	mu   sync.Mutex
	seen map[oddity]struct{}
}

type oddity struct {
	origin string
	code   int
	text   string
}

// varying are the parts of a text that differ from one transaction to the next.
var varying = regexp.MustCompile(`0x[0-9a-fA-F]+|[0-9]+`)

func newOddities(log *slog.Logger) *oddities {
	if log == nil {
		return nil
	}
	return &oddities{log: log, seen: make(map[oddity]struct{})}
}

// note logs an answer if it is a new one.
func (o *oddities) note(origin string, code int, text string) {
	if o == nil || !o.isNew(oddity{origin, code, varying.ReplaceAllString(text, "#")}) {
		return
	}
	o.log.Warn("answer to a transaction is not in the table: its outcome counts as unknown", "endpoint", origin, "code", code, "text", text)
}

func (o *oddities) isNew(odd oddity) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, known := o.seen[odd]; known || len(o.seen) >= maxOddities {
		return false
	}
	o.seen[odd] = struct{}{}
	return true
}
