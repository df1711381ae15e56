package lease

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Doubts returns why what is written to Redis may be forgotten, as far as Redis tells: it does not persist every change before it
// answers, or it evicts. What it does not tell is no doubt.
func Doubts(ctx context.Context, client redis.UniversalClient) []string {
	var doubts []string
	for _, want := range []struct{ setting, value string }{
		{"appendonly", "yes"}, {"appendfsync", "always"}, {"maxmemory-policy", "noeviction"},
	} {
		have, err := client.ConfigGet(ctx, want.setting).Result()
		if value := have[want.setting]; err == nil && value != "" && !strings.EqualFold(value, want.value) {
			doubts = append(doubts, fmt.Sprintf("%s is %s, want %s", want.setting, value, want.value))
		}
	}
	return doubts
}
