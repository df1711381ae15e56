package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"baler/signer"

	"github.com/BurntSushi/toml"
	"github.com/agnivade/levenshtein"
	"github.com/alecthomas/kong"
)

// hyphenate spells flag names with hyphens: `--num_signers=2` is `--num-signers=2`. Values are left alone.
func hyphenate(args []string) []string {
	out := slices.Clone(args)
	for i, arg := range out {
		if arg == "--" {
			break
		}
		if name, value, assigned := strings.Cut(arg, "="); strings.HasPrefix(name, "--") {
			out[i] = strings.ReplaceAll(name, "_", "-")
			if assigned {
				out[i] += "=" + value
			}
		}
	}
	return out
}

// configFile is the flag that names a TOML file. Its keys are flag names, with `-` or `_`; an unknown key is an error.
type configFile string

// BeforeResolve loads the file before kong asks where the other flags' values come from.
func (configFile) BeforeResolve(k *kong.Kong, ctx *kong.Context, trace *kong.Path) error {
	path, _ := ctx.FlagValue(trace.Flag).(configFile)
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(string(path))
	if err != nil {
		return badSetting("config file: %w", err)
	}
	values, err := parseConfig(string(text), commandFlags(ctx), allFlags(k.Model))
	if err != nil {
		return badSetting("config file %s: %w", path, err)
	}
	if err := checkSecrets(string(path), ctx.Flags(), values); err != nil {
		return err
	}
	ctx.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		// To kong the environment is a default, which what a resolver finds replaces: so find nothing then.
		for _, name := range flag.Envs {
			if _, set := os.LookupEnv(name); set {
				return nil, nil
			}
		}
		return values[flag.Name], nil
	}))
	return nil
}

// checkSecrets refuses a file that holds secrets and can be read by others than its owner. A setting is a secret by its tag.
func checkSecrets(path string, flags []*kong.Flag, values map[string]any) error {
	info, err := os.Stat(path)
	if err != nil {
		return badSetting("config file: %w", err)
	}
	for _, flag := range flags {
		if _, given := values[flag.Name]; !given || !flag.Tag.Has("secret") {
			continue
		}
		if err := signer.CheckPrivate(info); err != nil {
			return badSetting("config file %s: it holds %s, and %w", path, flag.Name, err)
		}
	}
	return nil
}

// parseConfig reads settings by flag name. One file may serve several commands, so a key that only another command
// knows is accepted and not used.
func parseConfig(text string, used, known []string) (map[string]any, error) {
	raw := map[string]any{}
	if _, err := toml.Decode(text, &raw); err != nil {
		return nil, err
	}
	values := map[string]any{}
	for key, value := range raw {
		name := strings.ReplaceAll(key, "_", "-")
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("unknown key %q%s", key, didYouMean(name, known))
		}
		if _, twice := values[name]; twice {
			return nil, fmt.Errorf("key %q is given twice, with - and with _", name)
		}
		if slices.Contains(used, name) {
			values[name] = flagValue(value)
		}
	}
	return values, nil
}

// flagValue is a TOML value in the form kong takes: a list as one comma-separated string.
func flagValue(value any) any {
	list, ok := value.([]any)
	if !ok {
		return fmt.Sprint(value)
	}
	items := make([]string, len(list))
	for i, item := range list {
		items[i] = fmt.Sprint(item)
	}
	return strings.Join(items, ",")
}

func commandFlags(ctx *kong.Context) []string {
	var names []string
	for _, flag := range ctx.Flags() {
		names = append(names, flag.Name)
	}
	return names
}

func allFlags(app *kong.Application) []string {
	var names []string
	_ = kong.Visit(app, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			names = append(names, flag.Name)
		}
		return next(nil)
	})
	return names
}

// didYouMean names the known flag that shares the most with the unknown one.
func didYouMean(name string, known []string) string {
	best, bestDistance := "", len(name)/2+1
	for _, candidate := range known {
		if d := levenshtein.ComputeDistance(name, candidate); d < bestDistance {
			best, bestDistance = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}
