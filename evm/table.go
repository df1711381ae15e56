package evm

// table is what is known, or being read, of one kind of value. Its owner guards it.
type table[K comparable, V any] map[K]*entry[V]

// entry is a value that is being read or has been read. Its fields are set before done is closed, which all entries of
// one claim share.
type entry[V any] struct {
	done  chan struct{}
	value V
	err   error
}

// failed reports whether the read failed. It may be called once done is closed.
func (e *entry[V]) failed() bool { return e.err != nil }

// known returns a value that has been read.
func (t table[K, V]) known(key K) (V, bool) {
	var none V
	e, ok := t[key]
	if !ok {
		return none, false
	}
	select {
	case <-e.done:
		return e.value, e.err == nil
	default:
		return none, false
	}
}

// entryState says who reads an entry.
type entryState uint8

const (
	entryKnown  entryState = iota // nobody: it has been read, or the same claim has it already
	entryMine                     // the caller must
	entryOthers                   // somebody else does
)

// claim returns the key's entry, made by this call if the caller, whose claim done belongs to, must read it.
func (t table[K, V]) claim(key K, done chan struct{}) (*entry[V], entryState) {
	if e, ok := t[key]; ok {
		if _, known := t.known(key); known || e.done == done {
			return e, entryKnown
		}
		return e, entryOthers
	}
	e := &entry[V]{done: done}
	t[key] = e
	return e, entryMine
}

// settle puts in what came of the reading of claimed keys: their values or an error.
func settle[K comparable, V any](t *table[K, V], keys []K, entries []*entry[V], values []V, err error) {
	for i, e := range entries {
		if e.err = err; err != nil {
			delete(*t, keys[i])
		} else {
			e.value = values[i]
		}
	}
}
