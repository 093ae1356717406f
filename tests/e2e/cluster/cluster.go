package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/wasmesh/wasmesh/tests/e2e/network"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Server is where the API server is, for who is in the node's network.
const Server = "https://10.96.0.1:443"

const bootTimeout = 90 * time.Second

// Cluster is a control plane that runs.
type Cluster struct {
	Network    *network.Network
	Client     *kubernetes.Clientset // as the administrator
	Config     *rest.Config
	Kubeconfig string // file, for kubectl and helm
	Tools      Tools

	authority *authority
	apiserver *process
	parts     []*process // in the order of their start
}

// Boot starts a control plane in the namespaces of this process, which must be
// Inside and settled.
func Boot(ctx context.Context, tools Tools, log *slog.Logger) (*Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	folder := filepath.Join(Home, "cluster")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	authority, err := newAuthority(folder)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Tools: tools, authority: authority}
	if c.Network, err = network.New(); err != nil {
		return nil, err
	}
	if err := c.certificates(); err != nil {
		return nil, err
	}
	if c.Config, c.Kubeconfig, err = c.user("admin"); err != nil {
		return nil, err
	}
	if c.Client, err = kubernetes.NewForConfig(c.Config); err != nil {
		return nil, err
	}
	return c, c.start(ctx)
}

func (c *Cluster) certificates() error {
	a := c.authority
	for _, issue := range []func() error{
		func() error {
			return a.server("apiserver", "localhost", "127.0.0.1", network.NodeIP.String(), network.APIServerIP.String(),
				"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc."+network.Domain)
		},
		func() error { return a.server("service-accounts") }, // only its keys are used
		func() error { return a.client("front-proxy", "front-proxy-client") },
		func() error { return a.client("admin", "admin", "system:masters") },
		func() error { return a.client("controllers", "system:kube-controller-manager") },
		func() error { return a.client("scheduler", "system:kube-scheduler") },
	} {
		if err := issue(); err != nil {
			return err
		}
	}
	return nil
}

// user gives the client configuration of one whose certificate is there, and the
// same as a file.
func (c *Cluster) user(name string) (*rest.Config, string, error) {
	a := c.authority
	file := a.path(name + ".kubeconfig")
	config := clientcmdapi.NewConfig()
	config.Clusters["wmrig"] = &clientcmdapi.Cluster{Server: Server, CertificateAuthority: a.path("ca.crt")}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificate: a.path(name + ".crt"), ClientKey: a.path(name + ".key")}
	config.Contexts["wmrig"] = &clientcmdapi.Context{Cluster: "wmrig", AuthInfo: name}
	config.CurrentContext = "wmrig"
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		return nil, "", err
	}
	loaded, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		return nil, "", err
	}
	loaded.QPS, loaded.Burst = 500, 1000
	return loaded, file, nil
}

// Node gives a client with the identity of that node, which the API server holds
// to what a node may do.
func (c *Cluster) Node(name string) (*kubernetes.Clientset, error) {
	if err := c.authority.client(name, "system:node:"+name, "system:nodes"); err != nil {
		return nil, err
	}
	config, _, err := c.user(name)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

func (c *Cluster) start(ctx context.Context) error {
	etcd := c.part("etcd", c.Tools.Etcd, etcdArgs(c.authority)...)
	c.apiserver = c.part("kube-apiserver", c.Tools.APIServer, apiserverArgs(c.authority)...)
	for _, kind := range []string{"controllers", "scheduler"} {
		if _, _, err := c.user(kind); err != nil {
			return err
		}
	}
	controllers := c.part("kube-controller-manager", c.Tools.ControllerManager, controllerArgs(c.authority)...)
	scheduler := c.part("kube-scheduler", c.Tools.Scheduler, schedulerArgs(c.authority)...)
	if err := etcd.start(); err != nil {
		return err
	}
	if err := etcd.ready(ctx, func(ctx context.Context) error { return answers(ctx, etcdURL+"/health") }); err != nil {
		return err
	}
	if err := c.StartAPIServer(ctx); err != nil {
		return err
	}
	if err := controllers.start(); err != nil {
		return err
	}
	return scheduler.start()
}

func (c *Cluster) part(name, program string, args ...string) *process {
	p := &process{name: name, program: program, args: args, log: filepath.Join(Home, "cluster", name+".log")}
	c.parts = append(c.parts, p)
	return p
}

// StopAPIServer ends the API server at once: everything that has learnt from it
// has to go on alone.
func (c *Cluster) StopAPIServer() { c.apiserver.stop(syscall.SIGKILL) }

// StartAPIServer starts the API server and waits until it says it is ready.
func (c *Cluster) StartAPIServer(ctx context.Context) error {
	if err := c.apiserver.start(); err != nil {
		return err
	}
	return c.apiserver.ready(ctx, func(ctx context.Context) error {
		return c.Client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// Close ends the control plane.
func (c *Cluster) Close() {
	for i := len(c.parts) - 1; i >= 0; i-- {
		c.parts[i].stop(syscall.SIGKILL) // nothing of it is kept
	}
}

func answers(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}
