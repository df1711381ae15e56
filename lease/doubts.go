package lease

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Doubts returns why what is written to Redis may be forgotten, as far as Redis tells: it does not persist every change before it
// answers, it evicts, or it has replicas that may be promoted and are not waited for. What it does not tell is no doubt.
func Doubts(ctx context.Context, client redis.UniversalClient, replicas int) []string {
	var doubts []string
	for _, want := range []struct{ setting, value string }{
		{"appendonly", "yes"}, {"appendfsync", "always"}, {"maxmemory-policy", "noeviction"},
	} {
		have, err := client.ConfigGet(ctx, want.setting).Result()
		if value := have[want.setting]; err == nil && value != "" && !strings.EqualFold(value, want.value) {
			doubts = append(doubts, fmt.Sprintf("%s is %s, want %s", want.setting, value, want.value))
		}
	}
	info, err := client.Info(ctx, "replication").Result()
	connected := 0
	for line := range strings.Lines(info) {
		if count, found := strings.CutPrefix(strings.TrimSpace(line), "connected_slaves:"); found && err == nil {
			connected, err = strconv.Atoi(count)
		}
	}
	switch {
	case err != nil:
	case replicas == 0 && connected > 0:
		doubts = append(doubts, fmt.Sprintf("%d replicas may be promoted without the last writes, want some to be waited for", connected))
	case replicas > connected:
		doubts = append(doubts, fmt.Sprintf("%d replicas are connected, want %d: nothing counts until they are", connected, replicas))
	}
	return doubts
}
