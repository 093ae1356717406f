// Command hunt looks for a disagreement between the policy and the reference
// for a while, with nothing that is slow to build: a seeded bug is one build
// and one hunt away. It judges nothing but the policy.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/tests/differential/judge"
)

func main() { os.Exit(run(os.Args[1:])) }

// run returns 0 if nothing was found, 1 for a disagreement and 2 for a mistake.
func run(arguments []string) int {
	flags := flag.NewFlagSet("hunt", flag.ContinueOnError)
	seed := flags.Uint64("seed", 1, "of all worlds")
	first := flags.Uint64("world", 0, "the first world")
	limit := flags.Duration("for", 30*time.Second, "how long")
	if err := flags.Parse(arguments); err != nil {
		return 2
	}
	tableOf := func(s *mesh.Snapshot, w mesh.Workload) *policy.Table {
		return policy.Compile(s.Grants(w.ServiceAccount))
	}
	tally, start := judge.NewTally(), time.Now()
	for index := *first; time.Since(start) < *limit; index++ {
		_, err := judge.World(*seed, index, tableOf, tally)
		if err == nil {
			continue
		}
		fmt.Printf("found after %d cases, %.2f s\n", tally.Cases, time.Since(start).Seconds())
		if finding := (*judge.Finding)(nil); errors.As(err, &finding) {
			fmt.Println(finding)
		}
		return 1
	}
	fmt.Printf("nothing found in %d cases, %.2f s\n", tally.Cases, time.Since(start).Seconds())
	tally.Print(os.Stdout)
	for _, s := range tally.Shortcomings() {
		fmt.Println("not exercised:", s)
	}
	return 0
}
