package cluster

import "github.com/wasmesh/wasmesh/tests/e2e/network"

const (
	etcdURL = "http://127.0.0.1:2379"
	issuer  = "https://kubernetes.default.svc." + network.Domain
	// Both families: a Service that asks for both gets a cluster IP of each.
	serviceRanges = "10.96.0.0/16,fd00:96::/112"
)

func etcdArgs(a *authority) []string {
	return []string{
		"--data-dir=" + a.path("etcd"),
		"--listen-client-urls=" + etcdURL, "--advertise-client-urls=" + etcdURL,
		"--listen-peer-urls=http://127.0.0.1:2380",
		"--unsafe-no-fsync", // its folder is in memory and ends with the run
		"--log-level=warn",
	}
}

func apiserverArgs(a *authority) []string {
	return []string{
		"--etcd-servers=" + etcdURL,
		// At the cluster IP itself, so that no translation is needed to reach it.
		"--secure-port=443", "--bind-address=0.0.0.0", "--advertise-address=" + network.NodeIP.String(),
		"--service-cluster-ip-range=" + serviceRanges,
		"--tls-cert-file=" + a.path("apiserver.crt"), "--tls-private-key-file=" + a.path("apiserver.key"),
		"--client-ca-file=" + a.path("ca.crt"),
		"--service-account-issuer=" + issuer, "--api-audiences=" + issuer,
		"--service-account-key-file=" + a.path("service-accounts.pub"),
		"--service-account-signing-key-file=" + a.path("service-accounts.key"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged",
		"--requestheader-client-ca-file=" + a.path("ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + a.path("front-proxy.crt"), "--proxy-client-key-file=" + a.path("front-proxy.key"),
		// Webhooks by Service then go to its endpoints.
		"--enable-aggregator-routing=true",
		"--kubelet-client-certificate=" + a.path("admin.crt"), "--kubelet-client-key=" + a.path("admin.key"),
		"--kubelet-preferred-address-types=InternalIP", // no name server knows the nodes
		"--shutdown-delay-duration=0s",
	}
}

func controllerArgs(a *authority) []string {
	config := a.path("controllers.kubeconfig")
	return []string{
		"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
		"--use-service-account-credentials", "--leader-elect=false",
		"--service-account-private-key-file=" + a.path("service-accounts.key"), "--root-ca-file=" + a.path("ca.crt"),
		"--controllers=*,-nodeipam,-cloud-node-lifecycle-controller,-service-lb-controller,-node-route-controller",
		"--node-monitor-grace-period=1h", // the agent sends no heartbeat
		"--concurrent-deployment-syncs=5",
	}
}

func schedulerArgs(a *authority) []string {
	config := a.path("scheduler.kubeconfig")
	return []string{
		"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
		"--leader-elect=false",
	}
}
