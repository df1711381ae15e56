package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// cluster is what a folder of manifests asks Kubernetes for.
type cluster struct {
	path     string
	sets     []apps.StatefulSet
	deploys  []apps.Deployment
	services []core.Service
	budgets  []policy.PodDisruptionBudget
}

// manifests reads a folder as Kubernetes does: a field that it does not know is an error.
func manifests(t *testing.T, folder string) *cluster {
	t.Helper()
	c := &cluster{path: folder}
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".yaml" || filepath.Base(path) == "kustomization.yaml" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for part := range strings.SplitSeq(string(text), "\n---\n") {
			c.take(t, path, []byte(part))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cluster) take(t *testing.T, path string, text []byte) {
	t.Helper()
	var of struct{ APIVersion, Kind string }
	if err := yaml.Unmarshal(text, &of); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	strict := func(into any) {
		if err := yaml.UnmarshalStrict(text, into); err != nil {
			t.Errorf("%s: %s: %v", path, of.Kind, err)
		}
	}
	switch of.APIVersion + " " + of.Kind {
	case "apps/v1 StatefulSet":
		c.sets = append(c.sets, apps.StatefulSet{})
		strict(&c.sets[len(c.sets)-1])
	case "apps/v1 Deployment":
		c.deploys = append(c.deploys, apps.Deployment{})
		strict(&c.deploys[len(c.deploys)-1])
	case "v1 Service":
		c.services = append(c.services, core.Service{})
		strict(&c.services[len(c.services)-1])
	case "policy/v1 PodDisruptionBudget":
		c.budgets = append(c.budgets, policy.PodDisruptionBudget{})
		strict(&c.budgets[len(c.budgets)-1])
	case "networking.k8s.io/v1 NetworkPolicy":
		strict(new(networking.NetworkPolicy))
	case "v1 Namespace":
		strict(new(core.Namespace))
	default:
		t.Errorf("%s: %s %s was not expected: secrets are made by hand", path, of.APIVersion, of.Kind)
	}
}

// workload is a set of equal processes.
type workload struct {
	name     string
	replicas int32
	pod      core.PodTemplateSpec
}

func (c *cluster) workloads() (list []workload) {
	for i := range c.sets {
		list = append(list, workload{c.sets[i].Name, *c.sets[i].Spec.Replicas, c.sets[i].Spec.Template})
	}
	for i := range c.deploys {
		list = append(list, workload{c.deploys[i].Name, *c.deploys[i].Spec.Replicas, c.deploys[i].Spec.Template})
	}
	return list
}

func TestManifestsStartWhatThereIs(t *testing.T) {
	there := probed(t)
	kustomizations, err := filepath.Glob(filepath.Join(deployFolder, "kubernetes", "*", "kustomization.yaml"))
	if err != nil || len(kustomizations) < 2 {
		t.Fatalf("have %v, %v, want manifests", kustomizations, err)
	}
	for _, path := range kustomizations {
		checkKustomization(t, path)
		c, balers := manifests(t, filepath.Dir(path)), 0
		for _, w := range c.workloads() {
			checkPod(t, c, &w)
			if w.pod.Spec.Containers[0].Name == "baler" {
				balers++
				checkBaler(t, c, &w, there)
			}
		}
		for _, service := range c.services {
			if !c.selects(service.Spec.Selector, func(w *workload) bool { return hasPorts(w, service.Spec.Ports) }) {
				t.Errorf("%s: service %s leads to no process with its ports", c.path, service.Name)
			}
		}
		if balers == 0 && filepath.Base(c.path) != "redis" {
			t.Errorf("%s: it starts no Baler", c.path)
		}
	}
}

func checkKustomization(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Resources []string }
	if err := yaml.Unmarshal(text, &list); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	named := make(map[string]bool)
	for _, resource := range list.Resources {
		named[resource] = true
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), resource)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := filepath.Base(file); name != "kustomization.yaml" && !named[name] {
			t.Errorf("%s: it leaves %s out", path, name)
		}
	}
}

// selects reports whether labels select a process that is meant.
func (c *cluster) selects(selector map[string]string, meant func(*workload) bool) bool {
	for _, w := range c.workloads() {
		merged := maps.Clone(w.pod.Labels)
		maps.Copy(merged, selector)
		if len(selector) > 0 && maps.Equal(merged, w.pod.Labels) && meant(&w) {
			return true
		}
	}
	return false
}

func hasPorts(w *workload, ports []core.ServicePort) bool {
	for _, want := range ports {
		name := want.TargetPort.StrVal
		if name == "" {
			name = want.Name
		}
		if port := portNamed(&w.pod.Spec.Containers[0], name); port != want.Port {
			return false
		}
	}
	return true
}

func portNamed(c *core.Container, name string) int32 {
	for _, port := range c.Ports {
		if port.Name == name {
			return port.ContainerPort
		}
	}
	return 0
}

// checkPod wants a pod to have no rights that it does not need, as the namespace's policy "restricted" asks.
func checkPod(t *testing.T, c *cluster, w *workload) {
	t.Helper()
	where := c.path + ": " + w.name
	pod, container := w.pod.Spec, w.pod.Spec.Containers[0]
	context, own := pod.SecurityContext, container.SecurityContext
	if len(pod.Containers) != 1 || context == nil || own == nil {
		t.Fatalf("%s: have %d containers, want one with a security context", where, len(pod.Containers))
	}
	for what, well := range map[string]bool{
		"runs as root":               *context.RunAsNonRoot && *context.RunAsUser > 0 && *context.RunAsGroup > 0,
		"can get more rights":        !*own.AllowPrivilegeEscalation && own.Privileged == nil,
		"can write to its image":     *own.ReadOnlyRootFilesystem,
		"has capabilities":           len(own.Capabilities.Drop) == 1 && own.Capabilities.Drop[0] == "ALL" && len(own.Capabilities.Add) == 0,
		"has no seccomp profile":     context.SeccompProfile.Type == core.SeccompProfileTypeRuntimeDefault,
		"gets an account's token":    !*pod.AutomountServiceAccountToken,
		"has no bound of its memory": !container.Resources.Limits.Memory().IsZero() && !container.Resources.Requests.Cpu().IsZero(),
		"can't read its secrets":     context.FSGroup != nil && *context.FSGroup == *context.RunAsGroup,
	} {
		if !well {
			t.Errorf("%s %s", where, what)
		}
	}
	for _, volume := range pod.Volumes {
		if volume.Secret != nil && *volume.Secret.DefaultMode != 0o400 {
			t.Errorf("%s: secret %s has mode %04o, want 0400", where, volume.Secret.SecretName, *volume.Secret.DefaultMode)
		}
	}
}

// pools are the processes that may serve the pool, by the names that a StatefulSet's service gives them.
func (c *cluster) pools() (urls []string) {
	for i := range c.sets {
		set := &c.sets[i]
		if port := listens(set.Spec.Template.Spec.Containers[0].Args); port != "" {
			for n := range *set.Spec.Replicas {
				urls = append(urls, fmt.Sprintf("http://%s-%d.%s%s", set.Name, n, set.Spec.ServiceName, port))
			}
		}
	}
	return urls
}

func checkBaler(t *testing.T, c *cluster, w *workload, there func(path string) bool) {
	t.Helper()
	where := c.path + ": " + w.name
	pod, container := w.pod.Spec, &w.pod.Spec.Containers[0]
	d := deployed{where: where, args: container.Args, env: map[string]string{}, pools: c.pools()}
	for _, variable := range container.Env {
		if variable.ValueFrom == nil || variable.ValueFrom.SecretKeyRef == nil {
			d.env[variable.Name] = variable.Value
		}
	}
	for _, port := range container.Ports {
		d.ports = append(d.ports, int(port.ContainerPort))
	}
	if pod.TerminationGracePeriodSeconds != nil {
		d.stop = time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second
	}
	d.check(t)
	for kind, probe := range map[string]*core.Probe{"liveness": container.LivenessProbe, "readiness": container.ReadinessProbe, "startup": container.StartupProbe} {
		if probe == nil || probe.HTTPGet == nil || !there(probe.HTTPGet.Path) || portNamed(container, probe.HTTPGet.Port.StrVal) == 0 {
			t.Errorf("%s: nothing answers its %s probe", where, kind)
		}
	}
	if w.replicas > 1 && (pod.Affinity == nil || pod.Affinity.PodAntiAffinity == nil) {
		t.Errorf("%s: all may be on one machine", where)
	}
	budgeted := false
	for _, budget := range c.budgets {
		if c.selects(budget.Spec.Selector.MatchLabels, func(other *workload) bool { return other.name == w.name }) {
			budgeted = true
		}
	}
	if w.replicas > 1 && !budgeted {
		t.Errorf("%s: all may be stopped at once, have no PodDisruptionBudget", where)
	}
}
