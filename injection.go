package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/wasmesh/wasmesh/controlplane/kube"
	"github.com/wasmesh/wasmesh/controlplane/webhookcert"
	"github.com/wasmesh/wasmesh/injector/inject"
	"github.com/wasmesh/wasmesh/injector/webhook"
)

// injectionFlags say what sidecars have in common. Once they are parsed, the
// function returned gives the settings: the defaults, then the file, then flags.
func injectionFlags(f *flag.FlagSet) func() (inject.Settings, error) {
	file := f.String("settings", "", "YAML file of what all sidecars have in common (default: the chart's defaults)")
	image := f.String("image", "", "image of the sidecar (default: what the settings say)")
	return func() (inject.Settings, error) {
		s := inject.Defaults()
		if *file != "" {
			text, err := os.ReadFile(*file)
			if err != nil {
				return s, err
			}
			if s, err = inject.ParseSettings(text, s); err != nil {
				return s, fmt.Errorf("%s: %w", *file, err)
			}
		}
		s.Image = orElse(*image, s.Image)
		return s, s.Check()
	}
}

func runInjector(ctx context.Context, args []string, _, stderr io.Writer) error {
	o := webhook.Options{Log: slog.New(slog.NewTextHandler(stderr, nil))}
	f := flags("injector", stderr)
	kubeconfig := f.String("kubeconfig", "", "file that says how to reach the cluster (default: this pod's service account)")
	f.StringVar(&o.Namespace, "namespace", orElse(os.Getenv("POD_NAMESPACE"), inject.Defaults().SystemNamespace), "namespace of the injector and the control plane")
	f.StringVar(&o.Listen, "listen", ":9443", "address at which the API server asks")
	f.StringVar(&o.Health, "health", "", "address of the probes /ready and /healthy and of /metrics, such as :15021 (default none)")
	f.DurationVar(&o.CertificateLife, "webhook-life", webhookcert.DefaultLife, "life of the webhook's certificate, which is replaced with a third of it left")
	settings := injectionFlags(f)
	plain, err := parse(f, args)
	if err != nil {
		return err
	}
	if len(plain) > 0 {
		return fmt.Errorf("unexpected argument %q; there are flags only", plain[0])
	}
	if o.Settings, err = settings(); err != nil {
		return err
	}
	o.Settings.SystemNamespace = o.Namespace
	clients, err := kube.Connect(kube.Options{Kubeconfig: *kubeconfig, Log: o.Log})
	if err != nil {
		return err
	}
	o.Client = clients.Typed
	return webhook.Run(ctx, o)
}

func runInject(_ context.Context, args []string, stdout, stderr io.Writer) error {
	f := flags("inject", stderr)
	file := f.String("f", "", "file of manifests; - is what comes in")
	output := f.String("o", "yaml", "yaml or json")
	namespace := f.String("namespace", "default", "namespace of objects that do not say theirs")
	settings := injectionFlags(f)
	plain, err := parse(f, args)
	switch {
	case err != nil:
		return err
	case len(plain) > 0 || *file == "":
		return errors.New("give the file of manifests with -f")
	case *output != "yaml" && *output != "json":
		return fmt.Errorf("-o %q is neither yaml nor json", *output)
	}
	s, err := settings()
	if err != nil {
		return err
	}
	in := io.ReadCloser(os.Stdin)
	if *file != "-" {
		if in, err = os.Open(*file); err != nil {
			return err
		}
		defer in.Close()
	}
	return injectAll(in, *namespace, *output, s, stdout, stderr)
}

// injectAll writes nothing of a stream in which something cannot be read.
func injectAll(in io.Reader, namespace, output string, s inject.Settings, stdout, stderr io.Writer) error {
	var out bytes.Buffer
	var refused error
	documents := utilyaml.NewYAMLReader(bufio.NewReader(in))
	for n := 1; ; n++ {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			text, err = injectOne(text, namespace, output, s, stderr, &refused)
		}
		if err != nil {
			return fmt.Errorf("document %d: %w", n, err)
		}
		if out.Len() > 0 && output == "yaml" && len(text) > 0 {
			out.WriteString("---\n")
		}
		out.Write(text)
	}
	if _, err := stdout.Write(out.Bytes()); err != nil {
		return err
	}
	return refused
}

// injectOne returns a document as it was written unless something was injected.
func injectOne(text []byte, namespace, output string, s inject.Settings, stderr io.Writer, refused *error) ([]byte, error) {
	object, err := yaml.YAMLToJSON(text)
	if err != nil || bytes.Equal(object, []byte("null")) {
		return nil, err
	}
	changed, told, err := inject.Manifest(object, namespace, s)
	if err != nil {
		return nil, err
	}
	for _, t := range told {
		fmt.Fprintln(stderr, t)
		if t.Outcome == inject.Refused {
			*refused = errNo
		}
	}
	switch {
	case output == "json":
		return append(changed, '\n'), nil
	case bytes.Equal(changed, object):
		return text, nil
	}
	return yaml.JSONToYAML(changed)
}
