package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	composecli "github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

func deployFile(t *testing.T, name ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{deployFolder}, name...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// instruction is a line of a Dockerfile, its continuations joined.
type instruction struct{ word, rest string }

func dockerfile(t *testing.T) (list []instruction) {
	t.Helper()
	text := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(deployFile(t, "Dockerfile"), "")
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		if word, rest, found := strings.Cut(strings.TrimSpace(line), " "); found {
			list = append(list, instruction{word, strings.TrimSpace(rest)})
		}
	}
	return list
}

// last is what an instruction says last, in the final stage.
func last(list []instruction, word string) string {
	for _, i := range slices.Backward(list) {
		if i.word == word {
			return i.rest
		}
	}
	return ""
}

func TestTheImageHasNoRootNoShellAndAProbe(t *testing.T) {
	list := dockerfile(t)
	module, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(string(module))[1]
	if !slices.ContainsFunc(list, func(i instruction) bool { return i.word == "FROM" && strings.HasPrefix(i.rest, "golang:"+version+"-") }) {
		t.Errorf("the builder is not of Go %s, as go.mod is", version)
	}
	if base := last(list, "FROM"); !regexp.MustCompile(`^gcr.io/distroless/static\S*:nonroot$`).MatchString(base) {
		t.Errorf("have %q, want an image with nothing in it", base)
	}
	if user := last(list, "USER"); !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(user) {
		t.Errorf("have user %q, want a number that is not root's", user)
	}
	var entry, command, health []string
	for word, into := range map[string]*[]string{"ENTRYPOINT": &entry, "CMD": &command, "HEALTHCHECK": &health} {
		text := last(list, word)
		if err := json.Unmarshal([]byte(text[max(strings.Index(text, "["), 0):]), into); err != nil {
			t.Errorf("%s %s: %v, want a list: there is no shell", word, text, err)
		}
	}
	if len(entry) != 1 || len(health) < 2 || health[0] != entry[0] || !strings.Contains(last(list, "COPY"), "/var/lib/baler") {
		t.Fatalf("have entry %q, health check %q, want the binary and its probe", entry, health)
	}
	for _, args := range [][]string{command, health[1:]} {
		if _, parsed := (deployed{where: "Dockerfile", args: args}).parse(t, ""); parsed == nil {
			t.Errorf("%q is no command", args)
		}
	}
	checkProbe(t, "Dockerfile", health, probed(t))
}

// checkProbe wants a health check to be the program's own, of a path that there is.
func checkProbe(t *testing.T, where string, command []string, there func(path string) bool) {
	t.Helper()
	at := slices.Index(command, "probe")
	if at < 0 || at+1 >= len(command) {
		t.Errorf("%s: have health check %q, want baler probe URL", where, command)
		return
	}
	path := regexp.MustCompile(`^http://127\.0\.0\.1:\d+(/\w+)$`).FindStringSubmatch(command[at+1])
	if path == nil || !there(path[1]) {
		t.Errorf("%s: nothing answers %s", where, command[at+1])
	}
}

// The builder gets every file that the binary is made of.
func TestTheBuilderGetsWhatItNeeds(t *testing.T) {
	patterns, err := ignorefile.ReadAll(strings.NewReader(deployFile(t, "Dockerfile.dockerignore")))
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	const format = `{{if not .Standard}}{{if .Module.Main}}{{$d := .Dir}}{{range .GoFiles}}{{$d}}/{{.}}
{{end}}{{range .CgoFiles}}{{$d}}/{{.}}
{{end}}{{range .EmbedFiles}}{{$d}}/{{.}}
{{end}}{{end}}{{end}}`
	tags := regexp.MustCompile(`-tags=\S+`).FindString(deployFile(t, "Dockerfile"))
	if !strings.Contains(tags, "nodev") {
		t.Errorf("the image is built with %q, want it without the embedded chain", tags)
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", tags, "-deps", "-f", format, ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := strings.Fields(string(out))
	if len(files) < 100 {
		t.Fatalf("have %d files, want all of the program", len(files))
	}
	for _, file := range append(files, root+"/go.mod", root+"/go.sum") {
		name := strings.TrimPrefix(file, root+"/")
		if out, err := ignored.MatchesOrParentMatches(name); err != nil || out {
			t.Errorf("the builder does not get %s (%v)", name, err)
		}
	}
	for _, name := range []string{"deploy/compose/baler.toml", ".git/config", "baler-data/baler.db", "bin/baler", "secret.keys"} {
		if out, err := ignored.MatchesOrParentMatches(name); err != nil || !out {
			t.Errorf("the builder gets %s (%v)", name, err)
		}
	}
}

func composed(t *testing.T, path string) *types.Project {
	t.Helper()
	options, err := composecli.NewProjectOptions([]string{path}, composecli.WithInterpolation(true), composecli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return project
}

func TestComposeFilesStartWhatThereIs(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(deployFolder, "compose", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("have %v, %v, want compose files", files, err)
	}
	there := probed(t)
	for _, path := range files {
		project, balers := composed(t, path), 0
		var pools []string
		for _, name := range project.ServiceNames() {
			if port := listens(project.Services[name].Command); port != "" {
				pools = append(pools, "http://"+name+port)
			}
		}
		for name, service := range project.Services {
			where := filepath.Base(path) + ": " + name
			if service.Image != "baler" {
				if !regexp.MustCompile(`:\S*\d`).MatchString(service.Image) {
					t.Errorf("%s: have image %q, want a version", where, service.Image)
				}
				continue
			}
			balers++
			checkComposed(t, where, &service, pools, there)
		}
		if balers < 2 {
			t.Errorf("%s: have %d processes, want several", path, balers)
		}
	}
}

func checkComposed(t *testing.T, where string, service *types.ServiceConfig, pools []string, there func(path string) bool) {
	t.Helper()
	d := deployed{where: where, args: service.Command, env: map[string]string{}, pools: pools}
	for name, value := range service.Environment {
		if value != nil {
			d.env[name] = *value
		}
	}
	for _, port := range service.Ports {
		d.ports = append(d.ports, int(port.Target))
		if port.HostIP != "127.0.0.1" {
			t.Errorf("%s: port %s is open to everybody, want a proxy in front of it", where, port.Published)
		}
	}
	for _, port := range service.Expose {
		n, err := strconv.Atoi(port)
		if err != nil {
			t.Errorf("%s: port %s is no number", where, port)
		}
		d.ports = append(d.ports, n)
	}
	if service.StopGracePeriod != nil {
		d.stop = time.Duration(*service.StopGracePeriod)
	}
	d.check(t)
	mounted := slices.ContainsFunc(service.Secrets, func(s types.ServiceSecretConfig) bool {
		return slices.Contains(d.args, "--config=/run/secrets/"+s.Source)
	})
	private := service.User == "65532:65532" && service.ReadOnly && slices.Equal(service.CapDrop, []string{"ALL"}) &&
		slices.Contains(service.SecurityOpt, "no-new-privileges:true") && !service.Privileged
	if !mounted || !private {
		t.Errorf("%s: the secrets are mounted: %v; it has no rights that it does not need: %v", where, mounted, private)
	}
	if service.HealthCheck != nil {
		checkProbe(t, where, service.HealthCheck.Test, there)
	}
}

func TestTheUnitStartsWhatThereIs(t *testing.T) {
	unit := deployFile(t, "systemd", "baler.service")
	starts := regexp.MustCompile(`(?m)^Exec(?:Start|StartPre)=/usr/local/bin/baler (.+)$`).FindAllStringSubmatch(unit, -1)
	stop := regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)$`).FindStringSubmatch(unit)
	if len(starts) != 2 || stop == nil {
		t.Fatalf("have %d command lines, stop time %v, want two and a time", len(starts), stop)
	}
	seconds, err := time.ParseDuration(stop[1] + "s")
	if err != nil {
		t.Fatal(err)
	}
	for _, start := range starts {
		(deployed{where: "baler.service", args: strings.Fields(start[1]), stop: seconds}).check(t)
	}
	for _, want := range []string{
		"User=baler", "ProtectSystem=strict", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "StateDirectory=baler",
		"RestartPreventExitStatus=" + "2", "ExecReload=/bin/kill -HUP $MAINPID",
	} {
		if !slices.Contains(strings.Split(unit, "\n"), want) {
			t.Errorf("the unit does not say %s", want)
		}
	}
	if user := strings.Fields(deployFile(t, "systemd", "baler.sysusers.conf")); user[0] != "u" || user[1] != "baler" {
		t.Errorf("have user %q, want that of the unit", user)
	}
}
