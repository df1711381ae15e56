package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
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
	config, err := path.read()
	if err != nil {
		return err
	}
	section := chosenSection(ctx)
	values, err := config.settings(section, commandFlags(ctx), allFlags(k.Model))
	if err != nil {
		return badSetting("config file %s: %w", path, err)
	}
	if err := checkSecrets(string(path), ctx.Flags(), values); err != nil {
		return err
	}
	ctx.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		own := section != "" && flag.Name == dataDir && !config.names(section, dataDir)
		// To kong the environment is a default, which what a resolver finds replaces: so find nothing then.
		for _, name := range flag.Envs {
			if given, set := os.LookupEnv(name); set && own {
				return filepath.Join(given, section), nil
			} else if set {
				return nil, nil
			}
		}
		if own { // beside those of the other chains
			common, given := values[flag.Name].(string)
			if !given {
				common = flag.Default
			}
			return filepath.Join(common, section), nil
		}
		return values[flag.Name], nil
	}))
	return nil
}

// dataDir is the setting whose common value holds a folder for each chain.
const dataDir = "data-dir"

// chosenSection returns the section that the command line or the environment names.
func chosenSection(ctx *kong.Context) string {
	for _, element := range ctx.Path {
		if element.Flag != nil && element.Flag.Name == "chain" {
			name, _ := ctx.FlagValue(element.Flag).(string)
			return name
		}
	}
	return os.Getenv("BALER_CHAIN")
}

// configText is a file: settings of all chains, and a section for each chain.
type configText struct {
	common map[string]any
	chains map[string]map[string]any
	order  []string // of the sections, as they stand in the file
}

// sectionName is what a section may be called: it names a folder too.
var sectionName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)

func (path configFile) read() (*configText, error) {
	text, err := os.ReadFile(string(path))
	if err != nil {
		return nil, badSetting("config file: %w", err)
	}
	config, err := readConfig(string(text))
	if err != nil {
		return nil, badSetting("config file %s: %w", path, err)
	}
	return config, nil
}

func readConfig(text string) (*configText, error) {
	config := &configText{common: map[string]any{}, chains: map[string]map[string]any{}}
	meta, err := toml.Decode(text, &config.common)
	if err != nil {
		return nil, err
	}
	chains, given := config.common["chain"]
	delete(config.common, "chain")
	sections, tables := chains.(map[string]any)
	if given && !tables {
		return nil, errors.New("chain: want a section [chain.NAME] for each chain")
	}
	for _, key := range meta.Keys() {
		if len(key) != 2 || key[0] != "chain" {
			continue
		}
		section, table := sections[key[1]].(map[string]any)
		if !table || !sectionName.MatchString(key[1]) {
			return nil, fmt.Errorf("%s: want a section [chain.NAME], its name of letters, digits, - and _", key)
		}
		config.chains[key[1]] = section
		config.order = append(config.order, key[1])
	}
	return config, nil
}

// names reports whether a section has a setting of its own.
func (c *configText) names(section, name string) bool {
	for key := range c.chains[section] {
		if strings.ReplaceAll(key, "_", "-") == name {
			return true
		}
	}
	return false
}

// settings returns what the file says for a command: the common settings, and over them those of a section, if one is chosen. Every
// section is checked, whichever is used.
func (c *configText) settings(section string, used, known []string) (map[string]any, error) {
	values, err := namedSettings(c.common, used, known)
	if err != nil {
		return nil, err
	}
	for _, name := range c.order {
		own, err := namedSettings(c.chains[name], used, known)
		if err != nil {
			return nil, fmt.Errorf("section chain.%s: %w", name, err)
		}
		if name == section {
			maps.Copy(values, own)
		}
	}
	if section != "" && c.chains[section] == nil {
		return nil, fmt.Errorf("no section chain.%s%s", section, didYouMean(section, c.order))
	}
	return values, nil
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

// namedSettings returns settings by flag name. One file may serve several commands, so a key that only another command
// knows is accepted and not used.
func namedSettings(raw map[string]any, used, known []string) (map[string]any, error) {
	values := map[string]any{}
	for key, value := range raw {
		name := strings.ReplaceAll(key, "_", "-")
		if !slices.Contains(known, name) || name == "chain" || name == "config" {
			return nil, fmt.Errorf("unknown key %q%s", key, didYouMean(name, known))
		}
		if _, twice := values[name]; twice {
			return nil, fmt.Errorf("key %q is given twice, with - and with _", name)
		}
		if list, ok := value.([]any); ok && len(list) == 0 {
			continue // as if it were not there
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
