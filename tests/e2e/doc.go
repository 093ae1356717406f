// Package e2e proves on a real Kubernetes API server what the product promises
// there: pods are admitted, scheduled and served by Kubernetes itself, and run as
// processes in network namespaces with real Envoys. It holds tests only and must
// never be imported.
package e2e
