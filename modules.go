package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/wasm-registry/inspect"
	"github.com/wasmesh/wasmesh/wasm-registry/module"
	"github.com/wasmesh/wasmesh/wasm-registry/oci"
	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

const (
	usernameVariable = "WASMESH_REGISTRY_USERNAME"
	passwordVariable = "WASMESH_REGISTRY_PASSWORD"
	// transferTimeout is for a slow line: a module has megabytes.
	transferTimeout = 5 * time.Minute
)

// runInspection is for inspect.Inspector only, which starts this program again.
func runInspection(ctx context.Context, _ []string, stdout, _ io.Writer) error {
	return inspect.Serve(ctx, os.Stdin, stdout)
}

func runModule(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	commands := map[string]command{"push": runPush, "pull": runPull, "inspect": runInspect}
	if len(args) > 0 && commands[args[0]] != nil {
		return commands[args[0]](ctx, args[1:], stdout, stderr)
	}
	return errors.New("a module can be pushed, pulled and inspected: push FILE IMAGE, pull IMAGE -o FILE, inspect FILE|IMAGE")
}

// registryFlags are how a registry is reached. Credentials come from Docker's
// configuration or from the environment: arguments can be read by others.
func registryFlags(f *flag.FlagSet) *oci.Client {
	c := &oci.Client{Username: os.Getenv(usernameVariable), Password: os.Getenv(passwordVariable)}
	f.BoolVar(&c.PlainHTTP, "plain-http", false, "speak http with the registry")
	f.BoolVar(&c.AllowLoopback, "allow-loopback", false, "the registry may be on this machine")
	return c
}

// answered tells a refusal, which is the answer no, from a command that could
// not run.
func answered(err error, stderr io.Writer) error {
	if !errors.Is(err, oci.ErrNoModule) {
		return err
	}
	fmt.Fprintf(stderr, "%v\n", err)
	return errNo
}

func runPush(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flags("module push", stderr)
	output := f.String("o", "text", "text or json")
	client := registryFlags(f)
	plain, err := parse(f, args)
	if err != nil {
		return err
	}
	if len(plain) != 2 {
		return errors.New("give the file of a module and the image to push it to, with a tag")
	}
	to, err := oci.ParseReference(plain[1])
	if err != nil {
		return err
	}
	wasm, err := readModule(plain[0])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	digest, err := client.Push(ctx, to, wasm)
	if err != nil {
		return answered(err, stderr)
	}
	if *output == "json" {
		return printJSON(stdout, pushed{Image: to.At(digest).String(), Tag: to.Tag, Digest: digest, Module: store.Digest(wasm)})
	}
	_, err = fmt.Fprintln(stdout, to.At(digest))
	return err
}

// pushed is what push tells a script.
type pushed struct {
	Image  string `json:"image"` // by digest: what to write into a manifest
	Tag    string `json:"tag"`
	Digest string `json:"digest"`
	Module string `json:"module"` // sha256 of the module itself
}

func runPull(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flags("module pull", stderr)
	out := f.String("o", "", "file to write the module to")
	client := registryFlags(f)
	plain, err := parse(f, args)
	if err != nil {
		return err
	}
	if len(plain) != 1 || *out == "" {
		return errors.New("give an image, and with -o the file to write its module to")
	}
	from, err := oci.ParseReference(plain[0])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	m, err := client.Pull(ctx, from)
	if err != nil {
		return answered(err, stderr)
	}
	if err := writeWhole(*out, m.Wasm); err != nil {
		return fmt.Errorf("write %s: %w", *out, err)
	}
	_, err = fmt.Fprintf(stdout, "%s: module %s of %s, %s format\n", *out, store.Digest(m.Wasm), from.At(m.Manifest), m.Format)
	return err
}

// writeWhole leaves the file as it was or has all of it written.
func writeWhole(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".module-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// readModule reads no more of a file than a module may have.
func readModule(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	wasm, err := io.ReadAll(io.LimitReader(f, module.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return wasm, nil
}

// inspected is what inspect tells.
type inspected struct {
	Module    string   `json:"module"` // sha256
	Bytes     int      `json:"bytes"`
	Image     string   `json:"image,omitempty"` // by digest
	Format    string   `json:"format,omitempty"`
	ABI       string   `json:"abi,omitempty"`
	Calls     []string `json:"calls,omitempty"`
	Callbacks []string `json:"callbacks,omitempty"`
	Starts    bool     `json:"starts"`
	Cause     string   `json:"cause,omitempty"`
}

func (i inspected) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "module   sha256:%s, %d bytes\n", i.Module, i.Bytes)
	if i.Image != "" {
		fmt.Fprintf(&b, "image    %s, %s format\n", i.Image, i.Format)
	}
	if i.ABI != "" {
		fmt.Fprintf(&b, "abi      Proxy-Wasm %s\ncalls    %s\nanswers  %s\n", i.ABI, strings.Join(i.Calls, " "), strings.Join(i.Callbacks, " "))
	}
	if i.Starts {
		return b.String() + "starts   yes\n"
	}
	return b.String() + "starts   no: " + i.Cause + "\n"
}

func runInspect(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var configurations list
	f := flags("module inspect", stderr)
	output := f.String("o", "text", "text or json")
	f.Var(&configurations, "config", "file with a plugin configuration to start the module with; may be repeated")
	client := registryFlags(f)
	plain, err := parse(f, args)
	if err != nil {
		return err
	}
	if len(plain) != 1 {
		return errors.New("give the file of a module, or an image")
	}
	var answer inspected
	wasm, err := find(ctx, client, plain[0], &answer)
	if err != nil {
		return answered(err, stderr)
	}
	var given [][]byte
	for _, name := range configurations {
		c, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		given = append(given, c)
	}
	answer.Module, answer.Bytes = store.Digest(wasm), len(wasm)
	if shape, err := module.Read(wasm); err == nil {
		answer.ABI, answer.Calls, answer.Callbacks = shape.ABI, shape.Calls(), shape.Callbacks()
	}
	if err = (inspect.Inspector{}).Inspect(ctx, wasm, given...); errors.Is(err, inspect.ErrUnable) {
		return err
	} else if err != nil {
		answer.Cause = err.Error()
	}
	answer.Starts = err == nil
	if *output == "json" {
		err = printJSON(stdout, answer)
	} else {
		_, err = fmt.Fprint(stdout, answer)
	}
	if err == nil && !answer.Starts {
		return errNo
	}
	return err
}

// find gets a module from a file or, if there is none of that name, as an image.
func find(ctx context.Context, client *oci.Client, name string, answer *inspected) ([]byte, error) {
	if !strings.HasPrefix(name, oci.LayoutPrefix) {
		wasm, err := readModule(name)
		if !errors.Is(err, fs.ErrNotExist) {
			return wasm, err
		}
	}
	r, err := oci.ParseReference(name)
	if err != nil {
		return nil, fmt.Errorf("there is no file %s, and it is no image: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	m, err := client.Pull(ctx, r)
	answer.Image, answer.Format = r.At(m.Manifest).String(), string(m.Format)
	return m.Wasm, err
}
