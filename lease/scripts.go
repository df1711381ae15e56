package lease

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// The scripts run as one step each in Redis. KEYS of all of them: the lease, the token, the table. A lease's value is the
// holder's name, a space and the token.
var (
	// acquireScript takes a lease that nobody holds. Whoever held it as the same process, and lost the answer, gets a new token.
	// ARGV: holder, TTL in ms, keep in ms, least uptime in s (0: does not matter).
	acquireScript = redis.NewScript(`
local held = redis.call('GET', KEYS[1])
if held then
  if string.match(held, '^(.*) %d+$') ~= ARGV[1] then return {'held', held, redis.call('PTTL', KEYS[1])} end
elseif tonumber(ARGV[4]) > 0 then
  local info = redis.pcall('INFO', 'server')
  local up = type(info) == 'string' and tonumber(string.match(info, 'uptime_in_seconds:(%d+)'))
  if not up then return {'unknown'} end
  if up < tonumber(ARGV[4]) then return {'young', up} end
end
local token = redis.call('INCR', KEYS[2])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('PEXPIRE', KEYS[3], ARGV[3])
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. token, 'PX', ARGV[2])
return {'acquired', token}
`)

	// renewScript prolongs a lease. ARGV: its value, TTL in ms, keep in ms.
	renewScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('PEXPIRE', KEYS[3], ARGV[3])
return 1
`)

	// releaseScript gives a lease back. ARGV: its value.
	releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`)

	// commitScript changes the table if the lease is held with this value. The table's field '' says which change of which token
	// was the last: a copy of an earlier one that arrives late is not applied again. ARGV: value, token, number of the change,
	// keep in ms, 1 if the table must be there, and then a field and a value ('p', field, value) or a field to drop ('d', field).
	commitScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'lost' end
local last = redis.call('HGET', KEYS[3], '')
if not last and ARGV[5] == '1' then return 'gone' end
if last then
  local token, number = string.match(last, '^(%d+) (%d+)$')
  if token == ARGV[2] and tonumber(number) >= tonumber(ARGV[3]) then
    redis.call('PEXPIRE', KEYS[3], ARGV[4]) -- a write after it, that replicas are waited for with
    return 'ok'
  end
end
local i = 6
while i <= #ARGV do
  if ARGV[i] == 'p' then
    redis.call('HSET', KEYS[3], ARGV[i + 1], ARGV[i + 2])
    i = i + 3
  else
    redis.call('HDEL', KEYS[3], ARGV[i + 1])
    i = i + 2
  end
end
redis.call('HSET', KEYS[3], '', ARGV[2] .. ' ' .. ARGV[3])
redis.call('PEXPIRE', KEYS[3], ARGV[4])
return 'ok'
`)
)

// replicaTime is how long replicas are waited for. It leaves time for the answer within ioTime.
const replicaTime = ioTime / 2

// run runs a script on the keys of a name. behind is not nil if it has run, and too few replicas have what it wrote; what it did must
// not be relied on then. Redis counts what a connection wrote, so it is asked on the same one.
func (l *Leases) run(ctx context.Context, script *redis.Script, name string, args ...any) (ran *redis.Cmd, behind error) {
	keys := l.keys(name)
	if l.options.Replicas <= 0 {
		return script.Run(ctx, l.client, keys, args...), nil
	}
	master, err := l.master(ctx, keys[0])
	if err != nil {
		ran = redis.NewCmd(ctx)
		ran.SetErr(err)
		return ran, nil
	}
	for _, send := range []func(context.Context, redis.Scripter, []string, ...any) *redis.Cmd{script.EvalSha, script.Eval} {
		pipe := master.Pipeline()
		ran = send(ctx, pipe, keys, args...)
		waited := pipe.Do(ctx, "WAIT", l.options.Replicas, replicaTime.Milliseconds())
		_, _ = pipe.Exec(ctx) // each command has its own error
		have, err := waited.Int64()
		switch {
		case err != nil:
			behind = fmt.Errorf("%w: %w", ErrReplicas, err)
		case have < int64(l.options.Replicas):
			behind = fmt.Errorf("%w: have %d, want %d", ErrReplicas, have, l.options.Replicas)
		default:
			behind = nil
		}
		if !redis.HasErrorPrefix(ran.Err(), "NOSCRIPT") {
			break
		}
	}
	if cluster, several := l.client.(*redis.ClusterClient); several && redis.HasErrorPrefix(ran.Err(), "MOVED") {
		cluster.ReloadState(ctx) // the next try asks the right one
	}
	return ran, behind
}

// master is the server that has a key: a cluster would ask any of its servers about replicas.
func (l *Leases) master(ctx context.Context, key string) (redis.UniversalClient, error) {
	cluster, several := l.client.(*redis.ClusterClient)
	if !several {
		return l.client, nil
	}
	return cluster.MasterForKey(ctx, key)
}
