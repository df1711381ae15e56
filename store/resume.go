package store

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"baler/bundlesender"
	"baler/journal"
)

// recentMoments is how many moments of a sender are at hand for people.
const recentMoments = 40

// Resumed is a bundle sender as its journal left it.
type Resumed struct {
	Machine *bundlesender.Machine
	// Signed are the transactions that may have to be relayed again, by attempt.
	Signed map[bundlesender.AttemptID]*types.Transaction
	// Routes are the names that were given to Signed with them.
	Routes map[bundlesender.AttemptID]string
	// Recent are the last moments at which something happened, as far as the replay went back.
	Recent *journal.Excerpt
	// Fresh: the journal was empty.
	Fresh bool
	// Difference is set if today's machine does not take the steps that are written, because another version of it wrote
	// them. The transactions are the same; counters may not be.
	Difference *journal.Difference
}

// Resume returns the machine that goes on from the journal, with the same live transactions, and begins a new part of the
// journal, durably. It is called once, before the first Step. The bundling mode is that of the settings, not that of the
// journal. It waits for [Store.Run].
//
// Errors: ErrDamaged, journal.ErrVersion, journal.ErrGap, or the store's. Then the key must not be used: what is in flight is
// not known.
func (j *Journal) Resume(ctx context.Context, cfg bundlesender.Config) (Resumed, error) {
	if j == nil {
		return Resumed{Machine: bundlesender.New(cfg), Recent: journal.NewExcerpt(recentMoments), Fresh: true}, nil
	}
	resumed, record, err := j.replay()
	if err != nil {
		return Resumed{}, err
	}
	record.Auto = !cfg.Manual
	signed, err := j.signed()
	if err != nil {
		return Resumed{}, err
	}
	record.Attempts = mergeSigned(record, signed, resumed.Difference != nil)
	if resumed.Difference != nil {
		record.Held = nil // what the attempts say counts
	}
	resumed.Machine = bundlesender.Restore(cfg, record)
	var useless []bundlesender.AttemptID
	for _, s := range signed {
		if slices.ContainsFunc(resumed.Machine.Record().Attempts, func(a bundlesender.Attempt) bool { return a.ID == s.attempt.ID }) {
			resumed.Signed[s.attempt.ID], resumed.Routes[s.attempt.ID] = s.tx, s.route
		} else {
			useless = append(useless, s.attempt.ID)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.config, j.err = cfg, nil
	writes := j.append([]Write{j.dropSigned(useless)}, journal.Started{Config: cfg, Record: record})
	j.parts[len(j.parts)-1].attempts = resumed.Machine.Record().NextAttempt
	if err := j.store.Commit(ctx, j.prune(writes, resumed.Machine.Record())...); err != nil {
		j.err = fmt.Errorf("journal of %s: %w", j.key, err)
		return Resumed{}, j.err
	}
	return resumed, nil
}

// InFlight returns the operations that the journal's sender has in transactions: in those that may be mined (live), and in those that
// are, in blocks which a reorg may still take back: what they have mined, and what is the sender's although they reverted. It changes
// nothing.
//
// Errors: as those of Resume.
func (j *Journal) InFlight() (live, mined []common.Hash, err error) {
	if j == nil {
		return nil, nil, nil
	}
	resumed, record, err := j.replay()
	if err != nil {
		return nil, nil, err
	}
	signed, err := j.signed()
	if err != nil {
		return nil, nil, err
	}
	record.Attempts = mergeSigned(record, signed, resumed.Difference != nil)
	machine := bundlesender.Restore(bundlesender.DefaultConfig(), record)
	flying := make(map[common.Hash]bool)
	for _, a := range machine.Watch() {
		live = append(live, a.Operations...)
		for _, op := range a.Operations {
			flying[op] = true
		}
	}
	reverted := slices.DeleteFunc(machine.Held(), func(op common.Hash) bool { return flying[op] })
	return live, append(machine.Mined(), reverted...), nil
}

// replay plays the last part and returns the record that the machine has at its end.
func (j *Journal) replay() (Resumed, bundlesender.Record, error) {
	resumed := Resumed{
		Signed: make(map[bundlesender.AttemptID]*types.Transaction), Routes: make(map[bundlesender.AttemptID]string),
		Recent: journal.NewExcerpt(recentMoments),
	}
	if len(j.parts) == 0 {
		resumed.Fresh = true
		return resumed, bundlesender.Record{}, nil
	}
	var player journal.Player
	for entry, err := range j.entries(j.parts[len(j.parts)-1].first) {
		if err != nil {
			return resumed, bundlesender.Record{}, err
		}
		moment, err := player.Play(entry)
		if err != nil {
			return resumed, bundlesender.Record{}, fmt.Errorf("journal of %s: %w", j.key, err)
		}
		resumed.Recent.See(moment)
		if resumed.Difference == nil {
			resumed.Difference = moment.Difference
		}
	}
	return resumed, player.Machine().Record(), nil
}

// signedAttempt is a signed transaction read back.
type signedAttempt struct {
	attempt bundlesender.Attempt
	tx      *types.Transaction
	route   string
}

func (j *Journal) signed() ([]signedAttempt, error) {
	var list []signedAttempt
	for p, err := range j.store.pairs([]byte{0}, j.bucket(bucketSigned)) {
		var s signedAttempt
		if err == nil {
			s, err = readSigned(p)
		}
		if err != nil {
			return nil, fmt.Errorf("journal of %s: signed transaction %x: %w", j.key, p.key, err)
		}
		list = append(list, s)
	}
	return list, nil
}

// Transaction reads an attempt's signed transaction. It is there from [Journal.Signed] until the machine forgets the attempt.
//
// Errors: ErrDamaged, also if it is not there.
func (j *Journal) Transaction(id bundlesender.AttemptID) (tx *types.Transaction, err error) {
	var s signedAttempt
	err = j.store.db.View(func(tx transaction) error {
		p := pair{key: number(uint64(id))}
		if bucket := j.bucket(bucketSigned)(tx); bucket != nil {
			p.value = bytes.Clone(bucket.Get(p.key))
		}
		var err error
		s, err = readSigned(p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("journal of %s: signed transaction of attempt %d: %w", j.key, id, err)
	}
	return s.tx, nil
}

func readSigned(p pair) (signedAttempt, error) {
	record, err := unseal[signedRecord](recordSigned, p.value)
	if err != nil {
		return signedAttempt{}, err
	}
	if id, err := parseNumber(p.key); err != nil || bundlesender.AttemptID(id) != record.Attempt.ID {
		return signedAttempt{}, fmt.Errorf("%w: attempt %d stands under another's key", ErrDamaged, record.Attempt.ID)
	}
	tx := new(types.Transaction)
	if err := tx.UnmarshalBinary(record.Raw); err != nil {
		return signedAttempt{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if tx.Hash() != record.Attempt.Hash {
		return signedAttempt{}, fmt.Errorf("%w: have transaction %s, want %s", ErrDamaged, tx.Hash(), record.Attempt.Hash)
	}
	return signedAttempt{record.Attempt, tx, record.Route}, nil
}

// mergeSigned returns the attempts with what only the signed transactions tell: a transaction is durable, and may have been
// relayed, before the machine hears that it is signed. If the machine acts otherwise today than it did, what was signed and is
// missing from its record is not taken for forgotten.
func mergeSigned(r bundlesender.Record, signed []signedAttempt, differs bool) []bundlesender.Attempt {
	attempts := slices.Clone(r.Attempts)
	for _, s := range signed {
		i := slices.IndexFunc(attempts, func(a bundlesender.Attempt) bool { return a.ID == s.attempt.ID })
		switch {
		case i >= 0 && attempts[i].Hash == common.Hash{}:
			attempts[i].Hash, attempts[i].Fees = s.attempt.Hash, s.attempt.Fees
		case i < 0 && (differs || s.attempt.ID >= r.NextAttempt):
			added := s.attempt
			added.Status = bundlesender.StatusSending
			if r.NonceKnown && added.Nonce < r.Nonce {
				added.Finished = max(added.Block, 1) // looked for as long as a reorg is followed
			}
			attempts = append(attempts, added)
		}
	}
	return attempts
}
