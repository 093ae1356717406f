package chart

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"testing"
)

// aRoot has the form of a certificate.
const aRoot = "-----BEGIN CERTIFICATE-----\nMIIB/aY+\n-----END CERTIFICATE-----\n"

// TestLint also renders with everything that can be switched.
func TestLint(t *testing.T) {
	for _, values := range [][]string{
		nil,
		{"--set", "crds.keep=true"},
		{"--set", "mesh.authoritySecret=intermediate"},
		{"--set", "mesh.alsoTrust=" + aRoot},
		{"--set", "accessLog.percent=0.5,tracing.percent=100,tracing.collector=otel.example:4317,tracing.roots=" + aRoot},
		{"--set", "crds.smi=false,crds.own=false,validation.enabled=false"},
		{"--set", "image.digest=sha256:" + strings.Repeat("a", 64), "--set", "imagePullSecrets[0].name=pull"},
		{"--set", "controlPlane.priorityClassName=high,injector.nodeSelector.disk=ssd,controlPlane.extraArgs[0]=--leaf-lifetime=1h"},
	} {
		if out, err := helm(t, append([]string{"lint", "--strict", chartPath}, values...)...); err != nil {
			t.Errorf("lint %v: %v: %s", values, err, out)
		}
		if out, err := helm(t, append([]string{"template", "wasmesh", chartPath, "-n", system}, values...)...); err != nil {
			t.Errorf("template %v: %v: %s", values, err, out)
		}
	}
	out, err := helm(t, "template", "wasmesh", chartPath, "--set", "image.digest=sha256:"+strings.Repeat("a", 64))
	if err != nil || strings.Count(out, "image: \"wasmesh/wasmesh@sha256:aaa") != 2 {
		t.Errorf("the digest names no image: %v", err)
	}
}

// TestValuesAreHeldToTheSchema refuses what nobody reads; each has a good twin.
func TestValuesAreHeldToTheSchema(t *testing.T) {
	for _, c := range []struct{ bad, good, says string }{
		{"mesh.trustDomian=a.example", "mesh.trustDomain=a.example", "trustDomian"},
		{"mesh.mode=enforced", "mesh.mode=audit", "mode"},
		{"controlPlane.replica=3", "controlPlane.replicas=3", "replica"},
		{"controlPlane.replicas=-1", "controlPlane.replicas=1", "replicas"},
		{"controlPlane.resources.limit.memory=1Gi", "controlPlane.resources.limits.memory=1Gi", "limit"},
		{"image.digest=sha256:abc", "image.digest=sha256:" + strings.Repeat("0", 64), "digest"},
		{"crds.kept=true", "crds.keep=true", "kept"},
		{"validation.enabled=yes", "validation.enabled=false", "enabled"},
		{"sidecar.logLevel=warn", "sidecar.logLevel=debug", "logLevel"},
		{"sidecar.concurrency=0", "sidecar.concurrency=1", "concurrency"},
		{"sidecar.drain=5", "sidecar.drainSeconds=5", "drain"},
		{"sidecar.resources.limits.memory=1GB", "sidecar.resources.limits.memory=1Gi", "memory"},
		{"sidecarImage.pullPolicy=Sometimes", "sidecarImage.pullPolicy=Always", "pullPolicy"},
		{"sidecar.imagePullSecrets[0]=pull", "sidecar.imagePullSecrets[0].name=pull", "imagePullSecrets"},
		{"injector.podDisruptionBudget.maxUnavailable=0", "injector.podDisruptionBudget.maxUnavailable=2", "maxUnavailable"},
		{"controlPlane.annotations.a=1", "controlPlane.annotations.a=b", "annotations"},
		{"mesh.leafLifetime=1 day", "mesh.leafLifetime=24h", "leafLifetime"},
		{"mesh.alsoTrust=" + strings.ReplaceAll(aRoot, "CERTIFICATE", "PRIVATE KEY"), "mesh.alsoTrust=" + aRoot + aRoot, "alsoTrust"},
		{"accessLog.percent=101", "accessLog.percent=100", "percent"},
		{"accessLog.percent=-1", "accessLog.percent=0.01", "percent"},
		{"tracing.percent=x", "tracing.percent=12.5", "percent"},
		{"tracing.collector=http://otel:4317", "tracing.collector=otel:4317", "collector"},
		{"tracing.collector=otel", "tracing.collector=[2001:db8::1]:4317", "collector"},
		{"tracing.roots=roots.pem", "tracing.roots=" + aRoot, "roots"},
	} {
		out, err := helm(t, "template", "wasmesh", chartPath, "--set", c.bad)
		if err == nil || !strings.Contains(out, c.says) {
			t.Errorf("%s: not refused by name: %v: %.200s", c.bad, err, out)
		}
		if out, err := helm(t, "template", "wasmesh", chartPath, "--set", c.good); err != nil {
			t.Errorf("%s: %v: %s", c.good, err, out)
		}
	}
}

// TestInstallUpgradeUninstall: an upgrade brings new CRDs and leaves what the
// programs wrote; uninstalling leaves nothing, or the CRDs where that is asked.
func TestInstallUpgradeUninstall(t *testing.T) {
	install(t)
	const was = "bWFkZSBieSBhIHByb2dyYW0="
	must(t, "", "patch", "secret", "wasmesh-ca", "-n", system, "--type=merge", "-p", `{"data":{"key":"`+was+`"}}`)
	must(t, "", "patch", "lease", "wasmesh-controlplane", "-n", system, "--type=merge", "-p", `{"spec":{"holderIdentity":"a"}}`)
	authority, err := os.ReadFile(strings.TrimSuffix(kube.Kubeconfig, "admin.kubeconfig") + "ca.crt")
	if err != nil {
		t.Fatal(err)
	}
	bundle := base64.StdEncoding.EncodeToString(authority)
	must(t, "", "patch", "mutatingwebhookconfiguration", "wasmesh-injector", "--type=json", "-p",
		`[{"op":"add","path":"/webhooks/0/clientConfig/caBundle","value":"`+bundle+`"}]`)
	// As if the version before had a column less.
	must(t, "", "patch", "crd", "trafficsplits.split.smi-spec.io", "--type=json", "-p", `[{"op":"remove","path":"/spec/versions/0/additionalPrinterColumns/0"}]`)

	if out, err := helm(t, "upgrade", "wasmesh", chartPath, "-n", system, "--set", "controlPlane.replicas=1", "--force-conflicts"); err != nil {
		t.Fatalf("upgrade: %v: %s", err, out)
	}
	for what, c := range map[string]struct{ want, object, path string }{
		"the authority's key":   {was, "secret/wasmesh-ca", ".data.key"},
		"who leads":             {"a", "lease/wasmesh-controlplane", ".spec.holderIdentity"},
		"the CA bundle":         {bundle, "mutatingwebhookconfiguration/wasmesh-injector", ".webhooks[0].clientConfig.caBundle"},
		"the new value":         {"1", "deployment/wasmesh-controlplane", ".spec.replicas"},
		"the CRD's column back": {"Service", "crd/trafficsplits.split.smi-spec.io", ".spec.versions[0].additionalPrinterColumns[0].name"},
	} {
		if got := must(t, "", "get", "-n", system, c.object, "-o", "jsonpath={"+c.path+"}"); got != c.want {
			t.Errorf("after the upgrade %s is %.60q, want %.60q", what, got, c.want)
		}
	}
	upgraded(t)

	uninstall(t)
	await(t, "nothing is left", func() error {
		if left := ours(t); left != "" {
			return fmt.Errorf("left:\n%s", left)
		}
		return nil
	})
}

// TestKeptCRDs keep what users wrote, and a new installation takes them over.
func TestKeptCRDs(t *testing.T) {
	install(t, "--set", "crds.keep=true")
	must(t, "apiVersion: specs.smi-spec.io/v1alpha4\nkind: TCPRoute\nmetadata: {name: kept, namespace: default}\nspec: {}\n", "apply", "-f", "-")
	uninstall(t)
	must(t, "", "get", "tr", "kept", "-n", "default")
	if out, err := helm(t, "install", "wasmesh", chartPath, "-n", system); err != nil {
		t.Fatalf("install: %v: %s", err, out)
	}
	must(t, "", "get", "tr", "kept", "-n", "default")
}

// TestPodSecurity: the programs of the chart fit the level "restricted", which
// the API server itself judges.
func TestPodSecurity(t *testing.T) {
	install(t)
	t.Cleanup(func() {
		_, _ = kube.Kubectl(context.Background(), "", "label", "ns", system, "pod-security.kubernetes.io/enforce-")
	})
	out := must(t, "", "label", "--dry-run=server", "--overwrite", "ns", system, "pod-security.kubernetes.io/enforce=restricted")
	if strings.Contains(strings.ToLower(out), "warning") {
		t.Errorf("pods that are there would be refused: %s", out)
	}
	for _, d := range []string{"wasmesh-controlplane", "wasmesh-injector"} {
		template := must(t, "", "get", "deployment", d, "-n", system, "-o", "jsonpath={.spec.template}")
		must(t, "", "label", "--overwrite", "ns", system, "pod-security.kubernetes.io/enforce=restricted")
		pod := strings.Replace(template, "{", `{"apiVersion":"v1","kind":"Pod",`, 1)
		pod = strings.Replace(pod, `"metadata":{`, `"metadata":{"generateName":"x-","namespace":"`+system+`",`, 1)
		if out, err := kubectl(t, pod, "create", "--dry-run=server", "-f", "-"); err != nil {
			t.Errorf("%s: %s", d, out)
		}
		loose := strings.Replace(pod, `"allowPrivilegeEscalation":false`, `"allowPrivilegeEscalation":true`, 1)
		if out, err := kubectl(t, loose, "create", "--dry-run=server", "-f", "-"); err == nil {
			t.Errorf("%s: a pod that may gain privileges is accepted, so the check says nothing: %s", d, out)
		}
	}
}

// TestWebhooksSpareTheSystem: the injector is asked about opted-in namespaces
// only, and never about kube-system or its own, whatever they are labelled.
func TestWebhooksSpareTheSystem(t *testing.T) {
	install(t)
	for _, ns := range []string{"kube-system", system, "shop"} {
		if ns == "shop" {
			must(t, "", "create", "ns", ns)
			t.Cleanup(func() { _, _ = kube.Kubectl(context.Background(), "", "delete", "ns", ns, "--wait=false") })
		}
		pod := func(name string) (string, error) {
			return kubectl(t, fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: %s}\nspec: {serviceAccountName: default, containers: [{name: a, image: app}]}\n", name, ns), "create", "--dry-run=server", "-f", "-")
		}
		await(t, "the service account of "+ns, func() error { _, err := kubectl(t, "", "get", "sa", "default", "-n", ns); return err })
		if out, err := pod("a"); err != nil {
			t.Errorf("%s, not opted in: %s", ns, out)
		}
		must(t, "", "label", "--overwrite", "ns", ns, "wasmesh.io/inject=enabled")
		// The API server's own view of labels may be a moment old.
		await(t, ns+", opted in", func() error {
			out, err := pod("b")
			if ns == "shop" && (err == nil || !strings.Contains(out, "inject.wasmesh.io")) {
				return fmt.Errorf("no injector runs, and yet: %v %s", err, out)
			}
			if ns != "shop" && err != nil {
				return fmt.Errorf("refused: %s", out)
			}
			return nil
		})
		must(t, "", "label", "ns", ns, "wasmesh.io/inject-")
	}
}
