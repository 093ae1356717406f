package durable

import (
	"errors"

	"golang.org/x/sys/unix"
)

// exchange swaps two files in one step, so that a removal by another process
// falls either before it (and the swap fails) or after it (and the new file
// goes): it can never be undone by an update that was already under way.
func exchange(temp, path string) error {
	err := unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return replaceExisting(temp, path)
	}
	return err
}
