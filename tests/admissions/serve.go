package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/wasmesh/wasmesh/injector/inject"
	"github.com/wasmesh/wasmesh/injector/webhook"
)

const (
	namespace     = "wasmesh-system"
	configuration = "wasmesh-injector"
)

// serve is the injector, with its log but for where that goes to.
func serve(ctx context.Context, stdout io.Writer) error {
	client := fake.NewClientset(&admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: configuration}, Webhooks: []admissionregistrationv1.MutatingWebhook{{Name: "inject.wasmesh.io"}}})
	l, err := net.Listen("tcp", "127.187.1.1:0")
	if err != nil {
		return err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		ended <- webhook.Run(ctx, webhook.Options{
			Client: client, Namespace: namespace, Listen: address, Settings: inject.Defaults(), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
	}()
	bundle, err := bundleOf(ctx, client)
	if err != nil {
		return err
	}
	told := place{URL: "https://" + address + path, Server: fmt.Sprintf("wasmesh-injector.%s.svc", namespace), Bundle: bundle}
	if err := json.NewEncoder(stdout).Encode(told); err != nil {
		return err
	}
	return <-ended
}

// bundleOf waits for what the API server is to know the injector by.
func bundleOf(ctx context.Context, client kubernetes.Interface) ([]byte, error) {
	for range 500 {
		c, err := client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, configuration, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		if b := c.Webhooks[0].ClientConfig.CABundle; len(b) > 0 {
			return b, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil, errors.New("the injector made no certificate in ten seconds")
}
