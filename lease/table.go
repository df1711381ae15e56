package lease

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Change puts a value under a key of the table, or drops the key. Keys are not empty.
type Change struct {
	Key   string
	Value []byte
	Drop  bool
}

// Load reads the table as the last holder left it, in no order. It is called before the first Commit.
func (l *Lease) Load(ctx context.Context, visit func(key string, value []byte)) error {
	l.tables.Lock()
	defer l.tables.Unlock()
	key := l.leases.keys(l.name)[2]
	for cursor := uint64(0); ; {
		pairs, next, err := l.leases.client.HScan(ctx, key, cursor, "", 1000).Result()
		if err != nil {
			return fmt.Errorf("load %s: %w", l.name, err)
		}
		for i := 0; i+1 < len(pairs); i += 2 {
			l.tables.there = true
			if pairs[i] != "" {
				visit(pairs[i], []byte(pairs[i+1]))
			}
		}
		if cursor = next; cursor == 0 {
			break
		}
	}
	if !l.Valid() {
		return l.Err()
	}
	return nil
}

// commitPause is the wait before a change is sent again that may have been lost on the way.
const commitPause = 50 * time.Millisecond

// Commit makes changes of the table, all or none, if the lease is still held: Redis looks at both in one step. While Redis cannot be reached it
// asks again, as long as the lease is valid. After an error the lease is lost, and whether the changes were made is not known.
//
// Errors: ErrLost, ErrGone.
func (l *Lease) Commit(changes []Change) error {
	l.tables.Lock()
	defer l.tables.Unlock()
	there := "0"
	if l.tables.there {
		there = "1"
	}
	l.tables.number++
	args := make([]any, 0, 5+3*len(changes))
	args = append(args, l.value, l.token, l.tables.number, l.leases.options.Keep.Milliseconds(), there)
	for _, c := range changes {
		if c.Drop {
			args = append(args, "d", c.Key)
		} else {
			args = append(args, "p", c.Key, c.Value)
		}
	}
	for {
		answer, err := l.commit(args)
		switch {
		case errors.Is(err, ErrReplicas) && l.Valid(): // asked again, it is not made twice
		case err == nil && answer == "ok":
			l.tables.there = true
			return nil
		case err == nil && answer == "gone":
			l.lose("its table has vanished")
			return fmt.Errorf("commit to %s: %w", l.name, ErrGone)
		case err == nil:
			l.lose("another process has it, or redis forgot it")
			return fmt.Errorf("commit to %s: %w", l.name, ErrLost)
		case !l.Valid():
			l.lose("redis did not confirm it in time")
			return fmt.Errorf("commit to %s: %w: %w", l.name, ErrLost, err)
		}
		select {
		case <-l.lost:
		case <-time.After(commitPause):
		}
	}
}

// errStopped is the answer to a change after the lease was lost.
var errStopped = errors.New("not sent")

func (l *Lease) commit(args []any) (string, error) {
	if !l.Valid() {
		return "", errStopped
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*ioTime)
	defer cancel()
	ran, behind := l.leases.run(ctx, commitScript, l.name, args...)
	answer, err := ran.Text()
	if err == nil && answer == "ok" {
		err = behind
	}
	return answer, err
}

// Look reads the table of a name that this process need not hold, as it is at one moment. Its holder may change it right after.
func (l *Leases) Look(ctx context.Context, name string) (map[string]string, error) {
	pairs, err := l.client.HGetAll(ctx, l.keys(name)[2]).Result()
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", name, err)
	}
	delete(pairs, "")
	return pairs, nil
}

// Tables returns what the tables of all chains and names hold that are in Redis, each as it is at one moment. It only reads: no lease is
// needed, taken or looked at.
func Tables(ctx context.Context, client redis.UniversalClient) ([]map[string]string, error) {
	var mu sync.Mutex
	found := make(map[string]bool) // a scan may return a key twice
	scan := func(ctx context.Context, node *redis.Client) error {
		keys := node.Scan(ctx, 0, "baler:{*}:table", scanned).Iterator()
		for keys.Next(ctx) {
			mu.Lock()
			found[keys.Val()] = true
			mu.Unlock()
		}
		return keys.Err()
	}
	var err error
	switch client := client.(type) {
	case *redis.ClusterClient:
		err = client.ForEachMaster(ctx, scan)
	case *redis.Client:
		err = scan(ctx, client)
	default:
		err = fmt.Errorf("have a client of type %T", client)
	}
	if err != nil {
		return nil, fmt.Errorf("look for tables: %w", err)
	}
	var tables []map[string]string
	for _, key := range slices.Sorted(maps.Keys(found)) {
		pairs, err := client.HGetAll(ctx, key).Result()
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", key, err)
		}
		if delete(pairs, ""); len(pairs) > 0 {
			tables = append(tables, pairs)
		}
	}
	return tables, nil
}

// scanned is how many keys Redis looks at for one answer of a scan.
const scanned = 1_000
