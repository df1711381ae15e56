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

// reloader takes new settings into a running `baler node`: those that are marked so, and the keys. All of them or none.
type reloader struct {
	args    []string
	now     []setting // in effect
	level   *slog.LevelVar
	bundler *bundler
	keys    []common.Address
	log     *slog.Logger
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
	next := settingsOf(parsed)
	if err := checkContradictions(next); err != nil {
		return err
	}
	s := &line.Node
	if err := s.RPC.check(); err != nil {
		return err
	}
	allow, err := addresses("--allow_list", s.Mempool.AllowList)
	if err != nil {
		return err
	}
	block, err := addresses("--block_list", s.Mempool.BlockList)
	if err != nil {
		return err
	}
	keys, err := s.keys(ctx)
	if err != nil {
		return err
	}
	changed, restart := r.compare(next)
	r.level.Set(s.Log.LogLevel)
	r.bundler.server.SetRates(s.RPC.rates())
	r.bundler.pipeline.SetLists(allow, block)
	if listed := addressesOf(keys); !slices.Equal(listed, r.keys) {
		r.bundler.pipeline.SetKeys(keys)
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
func (r *reloader) compare(next []setting) (changed, restart []string) {
	for i, s := range next {
		if reflect.DeepEqual(s.flag.Target.Interface(), r.now[i].flag.Target.Interface()) || s.group == keysGroup {
			continue
		}
		if s.flag.Tag.Has("reload") {
			changed = append(changed, s.flag.Name)
		} else {
			restart = append(restart, s.flag.Name)
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
func (b *bundler) watchReload(signals chan os.Signal, out console, parsed *kong.Context, keys []signer.Signer, log *slog.Logger) {
	if out.args == nil {
		return
	}
	r := &reloader{args: out.args, now: settingsOf(parsed), level: out.level, bundler: b, keys: addressesOf(keys), log: log}
	b.group.Go(owned(b.ctx, "settings", func(ctx context.Context) error {
		r.watch(ctx, signals)
		return nil
	}))
}
