package main

import (
	"encoding"
	"fmt"
	"io"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// setting is one setting as it is in effect, and where it comes from.
type setting struct {
	flag   *kong.Flag
	group  string
	source string // "flag", "environment NAME", "file PATH", "default"
}

// given reports whether somebody has set it to something else than its default.
func (s setting) given() bool {
	return s.source != sourceDefault && !s.flag.Target.IsZero() && !s.isDefault()
}

func (s setting) isDefault() bool {
	if d, ok := reflect.TypeAssert[time.Duration](s.flag.Target); ok {
		fallback, err := time.ParseDuration(s.flag.Default)
		return err == nil && d == fallback
	}
	return strings.Trim(tomlValue(s.flag.Target), `"`) == s.flag.Default
}

const sourceDefault = "default"

// settingsOf lists the settings of the command that was parsed, in the order of its help.
func settingsOf(parsed *kong.Context) []setting {
	var list []setting
	file := ""
	for _, flag := range parsed.Flags() {
		if path, ok := parsed.FlagValue(flag).(configFile); ok {
			file = string(path)
		}
	}
	for _, flag := range parsed.Flags() {
		if flag.Name == "help" || flag.Name == "config" || flag.Name == "chain" { // which settings, not settings
			continue
		}
		s := setting{flag: flag, source: sourceDefault}
		if flag.Group != nil {
			s.group = flag.Group.Title
		}
		for _, name := range flag.Envs {
			if _, set := os.LookupEnv(name); set {
				s.source = "environment " + name
			}
		}
		for _, trace := range parsed.Path {
			switch {
			case trace.Flag != flag:
			case !trace.Resolved:
				s.source = "flag"
			case s.source == sourceDefault:
				s.source = "file " + file
			}
		}
		list = append(list, s)
	}
	return list
}

// text is the value as TOML has it. What must not be shown is hidden.
func (s setting) text() (value string, hidden bool) {
	target := s.flag.Target
	if s.flag.Tag.Has("secret") && !target.IsZero() {
		return "hidden", true
	}
	if text := tomlValue(target); !hasSecretPath(target) {
		return text, false
	}
	return "hidden but for " + shownURL(target.String()), true
}

// hasSecretPath reports whether a value is a URL with more than a host: keys of node providers stand there.
func hasSecretPath(v reflect.Value) bool {
	if v.Kind() != reflect.String {
		return false
	}
	parsed, err := url.Parse(v.String())
	return err == nil && parsed.Host != "" && (parsed.User != nil || strings.Trim(parsed.Path, "/") != "" || parsed.RawQuery != "")
}

func shownURL(text string) string {
	parsed, err := url.Parse(text)
	if err != nil {
		return "?"
	}
	return parsed.Scheme + "://" + parsed.Host
}

func tomlValue(v reflect.Value) string {
	if v.Kind() == reflect.Slice {
		items := make([]string, v.Len())
		for i := range items {
			items[i] = tomlValue(v.Index(i))
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	if text, ok := reflect.TypeAssert[encoding.TextMarshaler](v); ok {
		if b, err := text.MarshalText(); err == nil {
			return strconv.Quote(strings.ToLower(string(b)))
		}
	}
	if text, ok := reflect.TypeAssert[fmt.Stringer](v); ok {
		return strconv.Quote(text.String())
	}
	if v.Kind() == reflect.String {
		return strconv.Quote(v.String())
	}
	return fmt.Sprint(v.Interface())
}

// printSettings writes settings as a TOML file that has the same effect, but for what is hidden.
func printSettings(w io.Writer, list []setting) {
	group := ""
	for _, s := range list {
		if s.group != group {
			group = s.group
			printf(w, "\n# %s\n", group)
		}
		value, hidden := s.text()
		if hidden {
			printf(w, "# %s is %s  # %s\n", s.flag.Name, value, s.source)
			continue
		}
		printf(w, "%s = %s  # %s\n", s.flag.Name, value, s.source)
	}
}

// linkVariables are what Kubernetes sets for services whose name begins with "baler": nobody's settings.
var linkVariables = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP)(_\w+)?)$`)

// checkEnvironment refuses variables that look like settings and are none: a misspelt one would go unnoticed.
func checkEnvironment(environ []string, app *kong.Application) error {
	var known []string
	_ = kong.Visit(app, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			known = append(known, flag.Envs...)
		}
		return next(nil)
	})
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "BALER_") && !slices.Contains(known, name) && !linkVariables.MatchString(name) {
			return badSetting("environment: unknown setting %s%s", name, didYouMean(name, known))
		}
	}
	return nil
}
