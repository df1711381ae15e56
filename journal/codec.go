package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"reflect"

	"baler/bundlesender"
)

// version of the encoding of a record: the first byte of each. Fields that are added to an event or an effect need no new
// one: they are absent, so zero, in what was written before. A field or a name that is taken away or changes its meaning does.
const version = 1

// headerSize is version, kind, and the CRC-32C of kind and payload, big-endian.
const headerSize = 1 + 1 + 4

// ErrDamaged says that bytes are not what was written.
var ErrDamaged = errors.New("journal is damaged")

// ErrVersion says that a record was written by another version of the program in an encoding unknown to this one.
var ErrVersion = errors.New("journal was written in another encoding")

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //nolint:gochecknoglobals // a table of constants

// Seal returns a payload as a record: with version, kind and checksum.
func Seal(kind byte, payload []byte) []byte {
	record := make([]byte, headerSize, headerSize+len(payload))
	record[0], record[1] = version, kind
	record = append(record, payload...)
	binary.BigEndian.PutUint32(record[2:], checksum(record))
	return record
}

// Open returns what a record was sealed with.
func Open(record []byte) (kind byte, payload []byte, err error) {
	if len(record) < headerSize {
		return 0, nil, fmt.Errorf("%w: have a record of %d bytes, want at least %d", ErrDamaged, len(record), headerSize)
	}
	if record[0] != version {
		return 0, nil, fmt.Errorf("%w: have version %d, want %d", ErrVersion, record[0], version)
	}
	if have, want := checksum(record), binary.BigEndian.Uint32(record[2:]); have != want {
		return 0, nil, fmt.Errorf("%w: have checksum %08x, want %08x", ErrDamaged, have, want)
	}
	return record[1], record[headerSize:], nil
}

func checksum(record []byte) uint32 {
	return crc32.Update(crc32.Checksum(record[:2], castagnoli), castagnoli, record[headerSize:])
}

// Encode returns a body as a record. An event or effect without a codec is an error.
func Encode(b Body) ([]byte, error) {
	payload, err := payload(b)
	if err != nil {
		return nil, err
	}
	return Seal(b.kind(), payload), nil
}

// Begins says whether a replay can begin at the entry whose record this is, without decoding it. The record may be damaged.
func Begins(record []byte) bool {
	return len(record) > 1 && (record[1] == kindStarted || record[1] == kindSnapshot)
}

// Decode is the inverse of [Encode].
func Decode(record []byte) (Body, error) {
	kind, payload, err := Open(record)
	if err != nil {
		return nil, err
	}
	switch kind {
	case kindStarted:
		return read[Started](payload)
	case kindSnapshot:
		return read[Snapshot](payload)
	case kindNote:
		return read[Note](payload)
	case kindStep:
		return read[Step](payload)
	default:
		return nil, fmt.Errorf("%w: entry of unknown kind %d", ErrVersion, kind)
	}
}

func payload(b Body) ([]byte, error) {
	switch b := b.(type) {
	case Started:
		return json.Marshal(&b) // by pointer: big numbers marshal themselves only where they can be addressed
	case Snapshot:
		return json.Marshal(&b)
	case Step:
		return json.Marshal(&b)
	case Note:
		return json.Marshal(&b)
	default:
		return nil, fmt.Errorf("journal entry of type %T has no codec", b)
	}
}

func read[T Body](payload []byte) (Body, error) {
	var body T
	if err := strict(payload, &body); err != nil {
		return nil, err
	}
	return body, nil
}

// strict refuses what it does not know: a field that was written and is not read would be forgotten.
func strict(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something stands after the end", ErrDamaged)
	}
	return nil
}

type marshalledStep struct {
	Event   json.RawMessage
	Effects []json.RawMessage
}

// MarshalJSON writes each event and effect as an object with one member, named after its type.
func (s *Step) MarshalJSON() ([]byte, error) {
	var m marshalledStep
	var err error
	if m.Event, err = named(s.Event); err != nil {
		return nil, err
	}
	for _, effect := range s.Effects {
		raw, err := named(effect)
		if err != nil {
			return nil, err
		}
		m.Effects = append(m.Effects, raw)
	}
	return json.Marshal(&m)
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (s *Step) UnmarshalJSON(text []byte) error {
	var m marshalledStep
	if err := strict(text, &m); err != nil {
		return err
	}
	var err error
	if s.Event, err = unname(m.Event, events, "event"); err != nil {
		return err
	}
	for _, raw := range m.Effects {
		effect, err := unname(raw, effects, "effect")
		if err != nil {
			return err
		}
		s.Effects = append(s.Effects, effect)
	}
	return nil
}

// named writes {"Type": value}.
func named(v any) (json.RawMessage, error) {
	if v == nil {
		return nil, errors.New("journal: an event or effect is nil")
	}
	name := reflect.TypeOf(v).Name()
	if done, ok := v.(bundlesender.ManualDone); ok {
		v = writeManualDone(done)
	}
	if _, isEvent := events[name]; !isEvent {
		if _, isEffect := effects[name]; !isEffect {
			return nil, fmt.Errorf("journal: %T has no codec", v)
		}
	}
	addressable := reflect.New(reflect.TypeOf(v))
	addressable.Elem().Set(reflect.ValueOf(v))
	return json.Marshal(map[string]any{name: addressable.Interface()})
}

func unname[T any](raw json.RawMessage, codecs map[string]func([]byte) (T, error), what string) (T, error) {
	var none T
	var object map[string]json.RawMessage
	if err := strict(raw, &object); err != nil {
		return none, err
	}
	if len(object) != 1 {
		return none, fmt.Errorf("%w: %s with %d names, want one", ErrDamaged, what, len(object))
	}
	for name, value := range object {
		decode := codecs[name]
		if decode == nil {
			return none, fmt.Errorf("%w: have %s %q, which this version does not know", ErrVersion, what, name)
		}
		v, err := decode(value)
		if err != nil {
			return none, fmt.Errorf("%s %s: %w", what, name, err)
		}
		return v, nil
	}
	return none, nil
}
