//go:build tools

// Package tools pins the version of Helm that the end to end tests install the
// chart with. It is never built and never imported: go.mod is what it is for.
package tools

import _ "helm.sh/helm/v4/cmd/helm"
