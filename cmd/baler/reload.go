package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"baler/signer"

	"github.com/alecthomas/kong"
	"github.com/ethereum/go-ethereum/common"
)

// reloader takes new settings into a running process: those that are marked so, and the keys. All of them or none.
type reloader struct {
	read    reading
	args    []string
	now     []inEffect
	level   *slog.LevelVar
	bundler *bundler
	keys    []common.Address
	log     *slog.Logger
}

// inEffect is a setting as the process runs with it.
type inEffect struct {
	name      string
	value     any
	elsewhere bool // it is compared as something else: the keys
	reloads   bool // it can be changed without a restart
}

func inEffectOf(settings []setting) []inEffect {
	list := make([]inEffect, len(settings))
	for i, s := range settings {
		list[i] = inEffect{s.flag.Name, s.flag.Target.Interface(), s.group == keysGroup, s.flag.Tag.Has("reload")}
	}
	return list
}

// reading reads what a command can change without a restart, from settings that were just parsed.
type reading func(context.Context, *cli) (news, error)

// news are new settings.
type news struct {
	log   logSettings
	apply func(*bundler)  // nil: there is nothing else
	keys  []signer.Signer // nil: the process has none
}

// reload implements reading.
func (*nodeCommand) reload(ctx context.Context, line *cli) (news, error) {
	s := &line.Node
	lists, err := s.Mempool.reload()
	if err == nil {
		err = s.RPC.check()
	}
	if err != nil {
		return news{}, err
	}
	keys, err := s.keys(ctx)
	return news{log: s.Log, keys: keys, apply: func(b *bundler) {
		b.server.SetRates(s.RPC.rates())
		lists(b)
	}}, err
}

// reload implements reading.
func (*poolCommand) reload(_ context.Context, line *cli) (news, error) {
	lists, err := line.Pool.Mempool.reload()
	return news{log: line.Pool.Log, apply: lists}, err
}

// reload implements reading.
func (*rpcCommand) reload(_ context.Context, line *cli) (news, error) {
	s := &line.RPC
	return news{log: s.Log, apply: func(b *bundler) { b.server.SetRates(s.RPC.rates()) }}, s.RPC.check()
}

// reload implements reading.
func (*builderCommand) reload(ctx context.Context, line *cli) (news, error) {
	keys, err := line.Builder.keys(ctx)
	return news{log: line.Builder.Log, keys: keys}, err
}

// reload reads the lists of entities.
func (s poolSettings) reload() (apply func(*bundler), err error) {
	allow, err := addresses("--allow_list", s.AllowList)
	if err != nil {
		return nil, err
	}
	block, err := addresses("--block_list", s.BlockList)
	return func(b *bundler) { b.pipeline.SetLists(allow, block) }, err
}

// hangups are the SIGHUPs that a process gets from now on. One that comes while nothing is served yet (it starts, or stands by) waits in
// the channel until there is something to take new settings into.
func hangups(out console) (signals chan os.Signal, stop func()) {
	signals = make(chan os.Signal, 1)
	if out.args != nil {
		signal.Notify(signals, syscall.SIGHUP)
	}
	return signals, func() { signal.Stop(signals) }
}

// watch reloads with each SIGHUP until the bundler has stopped. If there were any, the next bundler of this process, which begins with the
// settings of the start, reads them too.
func (r *reloader) watch(ctx context.Context, signals chan os.Signal) {
	for reloaded := false; ; {
		select {
		case <-ctx.Done():
			if reloaded {
				select {
				case signals <- syscall.SIGHUP:
				default: // there is one
				}
			}
			return
		case <-signals:
			if err := r.reload(ctx); err != nil {
				r.log.Error("settings not reloaded; the old ones stay", "err", err)
			} else {
				reloaded = true
			}
		}
	}
}

// reload reads the settings as the start did, and applies what may change.
func (r *reloader) reload(ctx context.Context) error {
	var line cli
	parser, err := newParser(&line, kong.Exit(func(int) {}))
	if err != nil {
		return err
	}
	parsed, err := parser.Parse(hyphenate(r.args))
	if err != nil {
		return err
	}
	settings := settingsOf(parsed)
	if err := checkContradictions(settings); err != nil {
		return err
	}
	next := inEffectOf(settings)
	found, err := r.read(ctx, &line)
	if err != nil {
		return err
	}
	changed, restart := r.compare(next)
	r.level.Set(found.log.LogLevel)
	if found.apply != nil {
		found.apply(r.bundler)
	}
	if listed := addressesOf(found.keys); !slices.Equal(listed, r.keys) {
		r.bundler.pipeline.SetKeys(found.keys)
		r.keys, changed = listed, append(changed, "keys")
	}
	r.now = next
	r.log.Info("settings reloaded", "changed", strings.Join(changed, " "))
	if len(restart) > 0 {
		r.log.Warn("settings that have changed need a restart", "settings", strings.Join(restart, " "))
	}
	return nil
}

// compare names the settings that are others now, by whether they can be changed without a restart.
func (r *reloader) compare(next []inEffect) (changed, restart []string) {
	for i, s := range next {
		switch {
		case s.elsewhere || reflect.DeepEqual(s.value, r.now[i].value):
		case s.reloads:
			changed = append(changed, s.name)
		default:
			restart = append(restart, s.name)
		}
	}
	return changed, restart
}

func addressesOf(keys []signer.Signer) []common.Address {
	list := make([]common.Address, len(keys))
	for i, key := range keys {
		list[i] = key.Address()
	}
	return list
}

// watchReload runs a reloader as long as the bundler runs.
func (b *bundler) watchReload(signals chan os.Signal, out console, read reading, keys []signer.Signer, log *slog.Logger) {
	if out.args == nil {
		return
	}
	r := &reloader{read: read, args: out.args, now: out.now, level: out.level, bundler: b, keys: addressesOf(keys), log: log}
	b.group.Go(owned(b.ctx, "settings", func(ctx context.Context) error {
		r.watch(ctx, signals)
		return nil
	}))
}
