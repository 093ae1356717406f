// Command plans is an example of a filter that a user attaches to services: it
// knows which plan a tenant has bought and says so to the policy and to the
// application.
//
// A request names its tenant in x-tenant. The filter sets x-plan to what the
// configuration says of that tenant, whatever the caller wrote there, and
// answers 400 to a request without a known tenant. It never decides what a plan
// allows: a policy that matches x-plan does, and judges the request as the
// filter has left it.
package main

import (
	"errors"
	"strings"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

const (
	tenantHeader = "x-tenant"
	planHeader   = "x-plan"
)

func main() {}

func init() { proxywasm.SetVMContext(&vm{}) }

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext { return &plugin{} }

// plugin is one configuration: an edit makes a new one, and requests that are
// under way end with the old one.
type plugin struct {
	types.DefaultPluginContext
	plans map[string]string
}

// OnPluginStart refuses a configuration that it does not understand. The control
// plane tries it before any sidecar does, and shows what is logged here.
func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	text, err := proxywasm.GetPluginConfiguration()
	if err != nil && !errors.Is(err, types.ErrorStatusNotFound) {
		proxywasm.LogError("the configuration cannot be read: " + err.Error())
		return types.OnPluginStartStatusFailed
	}
	plans, wrong := parse(string(text))
	if wrong != "" {
		proxywasm.LogError(wrong)
		return types.OnPluginStartStatusFailed
	}
	p.plans = plans
	return types.OnPluginStartStatusOK
}

// parse reads lines of a tenant and its plan. Not JSON: its package would take
// ten megabytes more in each sidecar.
func parse(text string) (plans map[string]string, wrong string) {
	plans = map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case len(words) != 2:
			return nil, "the line \"" + line + "\" is not a tenant and its plan"
		case plans[words[0]] != "":
			return nil, "tenant " + words[0] + " has two plans"
		default:
			plans[words[0]] = words[1]
		}
	}
	if len(plans) == 0 {
		return nil, "the configuration names no tenant: write lines such as \"acme gold\""
	}
	return plans, ""
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{plans: p.plans} }

type stream struct {
	types.DefaultHttpContext
	plans map[string]string
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	plan := s.plans[s.tenant()]
	if plan == "" {
		return answer(400, "say in "+tenantHeader+" for which tenant you ask\n")
	}
	// Removed first: a caller may have sent several.
	err := proxywasm.RemoveHttpRequestHeader(planHeader)
	if err == nil {
		err = proxywasm.AddHttpRequestHeader(planHeader, plan)
	}
	if err != nil {
		return answer(503, "")
	}
	return types.ActionContinue
}

// tenant is the one that the request names; none if it names several.
func (s *stream) tenant() string {
	headers, err := proxywasm.GetHttpRequestHeaders()
	if err != nil {
		return ""
	}
	tenant, seen := "", false
	for _, h := range headers {
		if h[0] == tenantHeader {
			if seen {
				return ""
			}
			tenant, seen = h[1], true
		}
	}
	return tenant
}

func answer(status uint32, text string) types.Action {
	if err := proxywasm.SendHttpResponse(status, nil, []byte(text), -1); err != nil {
		// Without an answer the request must not go on either.
		proxywasm.LogError("no answer could be sent: " + err.Error())
	}
	return types.ActionPause
}
