package lease

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// ErrURL says that an address of Redis was not understood. It never holds the address: there may be a password in it.
var ErrURL = errors.New("want redis://, rediss://, unix://, redis-cluster:// or redis-sentinel://...?master_name=NAME")

// ioTime is how long one answer of Redis is waited for: a lease is worth nothing if asking for it takes as long as it lasts.
const ioTime = time.Second

// Dial makes a client of the Redis at these addresses. It connects when it is used first.
//
//   - redis://[user:password@]host:port/db, rediss:// (TLS) or unix://path: one server.
//   - redis-cluster:// or rediss-cluster://, or several of redis:// or rediss://: a cluster, of which these are some nodes.
//   - redis-sentinel:// or rediss-sentinel:// with ?master_name=NAME, once for each sentinel: the server they call master.
//
// Errors: ErrURL.
func Dial(urls []string) (redis.UniversalClient, error) {
	if len(urls) == 0 {
		return nil, fmt.Errorf("%w: none given", ErrURL)
	}
	first, _, _ := strings.Cut(urls[0], "://")
	switch {
	case strings.HasSuffix(first, "-sentinel"):
		return dialSentinels(urls)
	case strings.HasSuffix(first, "-cluster"), len(urls) > 1:
		return dialCluster(urls)
	}
	o, err := redis.ParseURL(urls[0])
	if err != nil {
		return nil, badURL(0, err)
	}
	o.MaxRetries, o.ContextTimeoutEnabled, o.DialerRetries = -1, true, 1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = ioTime, ioTime, ioTime
	o.MaintNotificationsConfig = quiet()
	return redis.NewClient(o), nil
}

func dialCluster(urls []string) (redis.UniversalClient, error) {
	var all *redis.ClusterOptions
	for i, text := range urls {
		o, err := redis.ParseClusterURL(strings.Replace(text, "-cluster://", "://", 1))
		switch {
		case err != nil:
			return nil, badURL(i, err)
		case all == nil:
			all = o
		default:
			all.Addrs = append(all.Addrs, o.Addrs...)
		}
	}
	all.ContextTimeoutEnabled, all.DialerRetries = true, 1
	all.DialTimeout, all.ReadTimeout, all.WriteTimeout = ioTime, ioTime, ioTime
	all.MaintNotificationsConfig = quiet()
	return redis.NewClusterClient(all), nil
}

func dialSentinels(urls []string) (redis.UniversalClient, error) {
	var all *redis.FailoverOptions
	for i, text := range urls {
		o, err := redis.ParseFailoverURL(strings.Replace(text, "-sentinel://", "://", 1))
		switch {
		case err != nil:
			return nil, badURL(i, err)
		case o.MasterName == "":
			return nil, badURL(i, errors.New("master_name is missing"))
		case all == nil:
			all = o
		default:
			all.SentinelAddrs = append(all.SentinelAddrs, o.SentinelAddrs...)
		}
	}
	all.MaxRetries, all.ContextTimeoutEnabled, all.DialerRetries = -1, true, 1
	all.DialTimeout, all.ReadTimeout, all.WriteTimeout = ioTime, ioTime, ioTime
	return redis.NewFailoverClient(all), nil
}

// quiet keeps the client from asking for notices that only one vendor's servers send.
func quiet() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// badURL names an address by its position. An error of the URL's syntax would quote it, so it is left out.
func badURL(i int, err error) error {
	if _, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("redis address %d: %w", i+1, ErrURL)
	}
	if strings.Contains(err.Error(), "scheme") {
		return fmt.Errorf("redis address %d: %w", i+1, ErrURL)
	}
	return fmt.Errorf("redis address %d: %w: %w", i+1, ErrURL, err)
}
