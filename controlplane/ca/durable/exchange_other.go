//go:build !linux

package durable

func exchange(temp, path string) error { return replaceExisting(temp, path) }
