package api_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"log/slog"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/metricsapi"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi/api"
)

// FuzzRequest: whatever is asked, the answer is JSON of bounded size, and an error
// has a reason and a message and is never an internal one.
func FuzzRequest(f *testing.F) {
	f.Add("GET", base+"/namespaces/shop/deployments/store-v1/edges", "t=30s&labelSelector=a%3Db", "application/json;as=Table;v=v1;g=meta.k8s.io")
	f.Add("GET", "/apis//x/../", "t=99999999999999h&fieldSelector=metadata.name%3Da", "*/*")
	f.Add("PUT", base, "watch=1", "text/\x00")
	source := &recorded{window: metricsapi.NewWindow(5*time.Minute, time.Second), asked: make(chan api.Asked, 1)}
	m := shop()
	handler := api.Handler(api.Options{Mesh: func() *metricsapi.Mesh { return m }, Source: source, Log: slog.New(slog.DiscardHandler)})
	f.Fuzz(func(t *testing.T, method, path, query, accept string) {
		r := &http.Request{Method: method, URL: &url.URL{Path: path, RawQuery: query}, Header: http.Header{"Accept": {accept}}}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r.WithContext(t.Context()))
		var s metav1.Status
		if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || s.Kind == "" {
			t.Fatalf("%d %v %s", w.Code, err, w.Body)
		}
		if w.Code != http.StatusOK && (w.Code >= 500 || s.Kind != "Status" || s.Reason == "" || s.Message == "" || w.Body.Len() > 4096) {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}
