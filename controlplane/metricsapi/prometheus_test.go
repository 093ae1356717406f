package metricsapi_test

import (
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/metricsapi"
)

const vector = `{"status":"success","data":{"resultType":"vector","result":[RESULT]}}`

func answers(requests, durations, samples string) metricsapi.Answers {
	wrap := func(result string) []byte { return []byte(strings.Replace(vector, "RESULT", result, 1)) }
	return metricsapi.Answers{Requests: wrap(requests), Durations: wrap(durations), Samples: wrap(samples)}
}

const (
	labels = `"source_namespace":"shop","source_kind":"Deployment","source_name":"buyer","destination_namespace":"shop","destination_kind":"Deployment","destination_name":"store-v1"`
	good   = `{"metric":{` + labels + `,"response_code":"200","pod":"store-v1-6d4-b"},"value":[1893499200,"12.5"]}`
	bad    = `{"metric":{` + labels + `,"response_code":"503"},"value":[1893499200,"2"]}`
	low    = `{"metric":{` + labels + `,"le":"5"},"value":[1893499200,"7"]}`
	all    = `{"metric":{` + labels + `,"le":"+Inf"},"value":[1893499200,"14"]}`
	two    = `{"metric":{},"value":[1893499200,"2"]}`
)

func TestAnswers(t *testing.T) {
	traffic, err := metricsapi.ReadAnswers(answers(good+","+bad, low+","+all, two), noon)
	if err != nil {
		t.Fatal(err)
	}
	m := traffic.Received(object(t, shop(), "deployments", "store-v1"))
	if m.Success != 12.5 || m.Failure != 2 || m.Partial != "" {
		t.Errorf("%+v", m)
	}
	if p50, _ := m.Latency.Quantile(0.5); p50 != 5 {
		t.Errorf("p50 is %v", p50)
	}
	if pod := traffic.Received(object(t, shop(), "pods", "store-v1-6d4-b")); pod.Success != 12.5 {
		t.Errorf("the pod that was scraped: %+v", pod)
	}
	// Of a backend, whether pods are told or not.
	backend := object(t, shop(), "trafficsplits", "canary").Backends[0]
	if m := traffic.ReceivedBy(backend); m.Success != 12.5 || m.Failure != 2 {
		t.Errorf("the backend: %+v", m)
	}
	// No series at all is a mesh without traffic, and one sample is none.
	empty, err := metricsapi.ReadAnswers(answers("", "", ""), noon)
	if m := empty.Received(object(t, shop(), "deployments", "store-v1")); err != nil || m.Success != 0 || m.Partial != "" {
		t.Errorf("%v %+v", err, m)
	}
	scarce, err := metricsapi.ReadAnswers(answers("", "", strings.Replace(two, `"2"`, `"1"`, 1)), noon)
	if m := scarce.Received(object(t, shop(), "deployments", "store-v1")); err != nil || !strings.Contains(m.Partial, "two samples") {
		t.Errorf("%v %+v", err, m)
	}
	warned := answers(good, "", two)
	warned.Requests = []byte(strings.Replace(string(warned.Requests), `"data"`, `"warnings":["remote read is down"],"data"`, 1))
	if traffic, err = metricsapi.ReadAnswers(warned, noon); err != nil || !strings.Contains(traffic.Lacks(), "remote read is down") {
		t.Errorf("%v %+v", err, traffic.Misses)
	}
}

func TestWrongAnswers(t *testing.T) {
	for name, a := range map[string]metricsapi.Answers{
		"no JSON":       {Requests: []byte("<html>")},
		"empty":         {},
		"an error":      {Requests: []byte(`{"status":"error","errorType":"bad_data","error":"parse error"}`)},
		"a matrix":      {Requests: []byte(`{"status":"success","data":{"resultType":"matrix","result":[]}}`)},
		"no namespace":  answers(strings.Replace(good, `"source_namespace":"shop",`, "", 1), "", two),
		"no code":       answers(strings.Replace(good, `"response_code":"200",`, "", 1), "", two),
		"no bound":      answers(good, strings.Replace(low, `,"le":"5"`, "", 1), two),
		"bound no text": answers(good, strings.Replace(low, `"5"`, `"five"`, 1), two),
	} {
		if traffic, err := metricsapi.ReadAnswers(a, noon); err == nil || len(err.Error()) > 500 {
			t.Errorf("%s: %v %+v", name, err, traffic)
		}
	}
}

func TestQueries(t *testing.T) {
	q := metricsapi.Ask(30*time.Second, "shop", true, false)
	by := "sum by (source_kind,source_namespace,source_name,destination_kind,destination_namespace,destination_name,"
	equal(t, "requests", q.Requests, by+`response_code) ((increase(osm_request_total{destination_namespace="shop"}[30000ms]) or increase(osm_request_total{source_namespace="shop"}[30000ms])))`)
	equal(t, "durations", metricsapi.Ask(1500*time.Millisecond, "", true, false).Durations, by+`le) (increase(osm_request_duration_ms_bucket[1500ms]))`)
	if q := metricsapi.Ask(time.Second, "", false, true); !strings.Contains(q.Requests, "destination_pod,pod,") {
		t.Error(q.Requests)
	}
}

func FuzzReadAnswers(f *testing.F) {
	a := answers(good+","+bad, low+","+all, two)
	f.Add(a.Requests, a.Durations, a.Samples)
	f.Add([]byte(strings.Replace(string(a.Requests), "12.5", "NaN", 1)), []byte(strings.Replace(string(a.Durations), "14", "-Inf", 1)), []byte("{}"))
	f.Fuzz(func(t *testing.T, requests, durations, samples []byte) {
		traffic, err := metricsapi.ReadAnswers(metricsapi.Answers{Requests: requests, Durations: durations, Samples: samples}, noon)
		if err == nil {
			sound(t, traffic)
		}
	})
}
