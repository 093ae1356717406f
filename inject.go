package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"

	corev1 "k8s.io/api/core/v1"

	"github.com/wasmesh/wasmesh/controlplane/kube"
	"github.com/wasmesh/wasmesh/injector/inject"
	"github.com/wasmesh/wasmesh/injector/manifests"
	"github.com/wasmesh/wasmesh/injector/webhook"
)

// sidecarFlags are the settings that all sidecars of a cluster share; their
// defaults are the chart's.
func sidecarFlags(f *flag.FlagSet) *inject.Settings {
	s := inject.Defaults()
	f.StringVar(&s.Image, "image", s.Image, "image of the sidecar")
	f.StringVar((*string)(&s.PullPolicy), "image-pull-policy", string(s.PullPolicy), "Always, IfNotPresent or Never")
	f.StringVar(&s.ControlPlane, "controlplane", s.ControlPlane, "DNS name of the control plane's Service")
	f.StringVar(&s.CPU, "sidecar-cpu", s.CPU, "what a sidecar asks for; empty: nothing")
	f.StringVar(&s.Memory, "sidecar-memory", s.Memory, "what a sidecar asks for; empty: nothing")
	f.StringVar(&s.MemoryLimit, "sidecar-memory-limit", s.MemoryLimit, "what a sidecar may use; empty: no limit")
	f.StringVar(&s.LogLevel, "sidecar-log-level", s.LogLevel, "Envoy's log level in sidecars")
	return &s
}

func runInjector(ctx context.Context, args []string, _, stderr io.Writer) error {
	f := flags("injector", stderr)
	settings := sidecarFlags(f)
	serving := webhook.Serving{}
	f.StringVar(&serving.Listen, "listen", ":9443", "where the API server asks")
	f.StringVar(&serving.Health, "health", ":15021", "where the node asks for /ready and /healthy")
	f.StringVar(&serving.Namespace, "namespace", orElse(os.Getenv("POD_NAMESPACE"), "wasmesh-system"), "namespace of the injector")
	kubeconfig := f.String("kubeconfig", "", "file that says how to reach the cluster (default: this pod's service account)")
	if plain, err := parse(f, args); err != nil || len(plain) > 0 {
		return errors.Join(err, unexpected(plain))
	}
	clients, err := kube.Connect(kube.Options{Kubeconfig: *kubeconfig, Namespace: serving.Namespace})
	if err != nil {
		return err
	}
	serving.Client = clients.Typed
	return webhook.Run(ctx, serving, webhook.Options{Settings: *settings, Log: slog.New(slog.NewTextHandler(stderr, nil))})
}

// runInject prints manifests with sidecars in them, and on stderr what it did.
func runInject(_ context.Context, args []string, stdout, stderr io.Writer) error {
	f := flags("inject", stderr)
	settings := sidecarFlags(f)
	file := f.String("f", "", "file of manifests; - for standard input")
	if plain, err := parse(f, args); err != nil || len(plain) > 0 {
		return errors.Join(err, unexpected(plain))
	}
	if err := settings.Validate(); err != nil {
		return err
	}
	in, err := read(*file)
	if err != nil {
		return err
	}
	out, results, err := manifests.Inject(in, func(p *corev1.Pod) (*corev1.Pod, inject.Report, error) { return inject.Pod(p, *settings) })
	if err != nil {
		return err
	}
	for _, r := range results {
		fmt.Fprintln(stderr, r)
	}
	_, err = stdout.Write(out)
	return err
}

func read(file string) ([]byte, error) {
	switch file {
	case "":
		return nil, errors.New("-f is missing; give a file of manifests, or - for standard input")
	case "-":
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(file)
}

func unexpected(plain []string) error {
	if len(plain) == 0 {
		return nil
	}
	return fmt.Errorf("unexpected argument %q; there are flags only", plain[0])
}
