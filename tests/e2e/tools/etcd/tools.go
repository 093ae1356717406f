//go:build tools

// Package tools pins the version of etcd that the end to end tests run against.
// It is never built and never imported: go.mod is what it is for.
package tools

import _ "go.etcd.io/etcd/server/v3"
