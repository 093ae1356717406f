// Command shim is process 1 of each container of the end to end tests. It must
// never be started by hand: it takes what it runs from its third file.
package main

import "github.com/wasmesh/wasmesh/tests/e2e/container"

func main() { container.Main() }
