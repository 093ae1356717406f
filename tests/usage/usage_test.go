package usage_test

import (
	"os"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/tests/usage"
)

// TestOwnProcess works and takes memory, and sees both.
func TestOwnProcess(t *testing.T) {
	const worked, taken = 20 * time.Millisecond, 64 << 20
	before, err := usage.CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	held, err := usage.Memory(os.Getpid(), usage.Resident)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, taken)
	for n := 0; ; n++ {
		block[n*4096%taken]++
		now, err := usage.CPU(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if now-before > worked && n*4096 > taken {
			break
		}
		if n > 100_000_000 {
			t.Fatalf("no processor time passes: %v", now-before)
		}
	}
	for _, field := range []string{usage.Resident, usage.Peak} {
		if now, err := usage.Memory(os.Getpid(), field); err != nil || now < held+taken/2 {
			t.Errorf("%s is %d after %d more than %d were taken (%d): %v", field, now, taken, held, block[0], err)
		}
	}
}

func TestNoProcess(t *testing.T) {
	const none = 1 << 22 // the kernel's largest process id, and one
	if _, err := usage.CPU(none); err == nil {
		t.Error("a process that is not there has used time")
	}
	if _, err := usage.Memory(none, usage.Resident); err == nil {
		t.Error("a process that is not there holds memory")
	}
	if _, err := usage.Memory(os.Getpid(), "VmNothing"); err == nil {
		t.Error("a field that is not there was read")
	}
}
