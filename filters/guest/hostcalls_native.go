//go:build !wasm

package guest

// Outside Wasm there is no host: every read finds nothing, and the stages deny. What
// is counted goes nowhere.

// RequestPairs finds nothing outside Wasm.
func RequestPairs() ([]byte, bool) { return nil, false }

// CloseRequest does nothing outside Wasm.
func CloseRequest() bool { return false }

func property(string) ([]byte, bool) { return nil, false }

func setProperty(string, string) bool { return true }

func hostDefine(uint32, string) (uint32, bool) { return 0, true }

func hostIncrement(uint32, int64) bool { return true }

func hostRecord(uint32, uint64) bool { return true }
