// Command build makes the chart's images: it compiles the programs for each
// platform, puts them on top of the base, and writes an index of all platforms
// into an OCI layout folder or a registry.
//
// It needs nothing but Go. It never writes an image of which one platform failed.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/wasmesh/wasmesh/charts/images"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

// options are what a run may be told.
type options struct {
	base, to, tag, module string
	platforms             []v1.Platform
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("images", flag.ContinueOnError)
	flags.StringVar(&o.base, "base", images.Base, "image with /usr/local/bin/envoy, in a registry or, as oci:FOLDER, in an OCI layout")
	flags.StringVar(&o.to, "to", "oci:bin/images", "oci:FOLDER, or a prefix of repositories such as registry.example.com/mesh")
	flags.StringVar(&o.tag, "tag", "", "tag of the images; the chart's appVersion is what the chart asks for")
	flags.StringVar(&o.module, "module", "bin/mesh.wasm", "file of the filter module")
	platforms := flags.String("platforms", "linux/amd64,linux/arm64", "platforms, separated by commas")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.tag == "" {
		return o, fmt.Errorf("no tag is given; say --tag 0.1.0")
	}
	for _, text := range strings.Split(*platforms, ",") {
		p, err := v1.ParsePlatform(text)
		if err != nil {
			return o, err
		}
		if p.OS != "linux" || p.Architecture == "" {
			return o, fmt.Errorf("platform %q: sidecars run on Linux; say linux/amd64 or linux/arm64", text)
		}
		o.platforms = append(o.platforms, *p)
	}
	return o, nil
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "images-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	made := map[string]v1.ImageIndex{}
	for _, p := range o.platforms {
		folder := filepath.Join(scratch, p.Architecture)
		if err := compile(ctx, p, folder); err != nil {
			return err
		}
		base, err := pull(ctx, o.base, p)
		if err != nil {
			return err
		}
		if err := add(made, p, base, folder, o.module); err != nil {
			return err
		}
	}
	return publish(ctx, o, made, out)
}

// compile builds the programs of all images, static and without this machine's
// paths in them.
func compile(ctx context.Context, p v1.Platform, folder string) error {
	for _, image := range images.All() {
		for _, program := range image.Programs {
			cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(folder, program.Name), program.Source)
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.OS, "GOARCH="+p.Architecture)
			cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("%s for %s: %w", program.Name, p, err)
			}
		}
	}
	return nil
}
