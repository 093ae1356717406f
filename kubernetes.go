package main

import (
	"errors"
	"flag"
	"log/slog"
	"os"

	"github.com/wasmesh/wasmesh/controlplane/kube"
)

// clusterFlags are those that say which cluster a control plane serves. Once they
// are parsed the function returned checks them against the folder of manifests,
// of which there must be either; nil options mean the folder.
func clusterFlags(f *flag.FlagSet) func(source string, log *slog.Logger) (*kube.Options, error) {
	var o kube.Options
	on := f.Bool("kubernetes", false, "serve a cluster instead of a folder")
	f.StringVar(&o.Kubeconfig, "kubeconfig", "", "file that says how to reach the cluster (default: this pod's service account)")
	f.StringVar(&o.Namespace, "namespace", orElse(os.Getenv("POD_NAMESPACE"), "wasmesh-system"), "namespace of the control plane")
	f.StringVar(&o.Replica, "replica", orElse(os.Getenv("POD_NAME"), hostname()), "name that tells this control plane from others")
	return func(source string, log *slog.Logger) (*kube.Options, error) {
		switch {
		case *on && source != "":
			return nil, errors.New("--source and --kubernetes exclude each other; give one")
		case *on:
			o.Log = log
			return &o, nil
		case source == "":
			return nil, errors.New("--source is missing; give the folder of manifests, or --kubernetes")
		}
		return nil, nil
	}
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "controlplane"
	}
	return name
}
