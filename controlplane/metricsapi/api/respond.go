package api

import (
	"encoding/json"
	"mime"
	"net/http"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/metricsapi"
)

// responder writes the answer to one request in the form that it accepts.
type responder struct {
	w http.ResponseWriter
	r *http.Request
}

// form is what a caller takes.
type form int

const (
	formNone form = iota
	formJSON
	formTable
)

// accepted is the first form of the Accept header that there is. Nothing said is
// JSON.
func accepted(header string) form {
	if strings.TrimSpace(header) == "" {
		return formJSON
	}
	for item := range strings.SplitSeq(header, ",") {
		kind, options, err := mime.ParseMediaType(item)
		if err != nil || kind != "application/json" && kind != "application/*" && kind != "*/*" {
			continue
		}
		switch options["as"] {
		case "":
			return formJSON
		case "Table":
			if options["g"] == metav1.GroupName && options["v"] == "v1" {
				return formTable
			}
		}
	}
	return formNone
}

func (o responder) fail(err error) {
	s := status(err)
	if s.Details != nil && s.Details.RetryAfterSeconds > 0 {
		o.w.Header().Set("Retry-After", strconv.Itoa(int(s.Details.RetryAfterSeconds)))
	}
	o.write(int(s.Code), s)
}

// plain writes what has no other form, such as discovery. Who asks for another
// gets an error and asks again for this one.
func (o responder) plain(what any) {
	if accepted(o.r.Header.Get("Accept")) == formNone {
		o.notAcceptable()
		return
	}
	o.write(http.StatusOK, what)
}

func (o responder) notAcceptable() {
	o.write(http.StatusNotAcceptable, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: http.StatusNotAcceptable,
		Reason: metav1.StatusReasonNotAcceptable, Message: "only application/json is served, and tables of lists and metrics in it",
	})
}

func (o responder) list(list metricsapi.TrafficMetricsList, lacks string) {
	told := map[string]bool{}
	tell := func(what string) {
		if what != "" && !told[what] && len(told) < 8 {
			told[what] = true
			warn(o.w, "partial: "+what)
		}
	}
	tell(lacks)
	for _, item := range list.Items {
		tell(item.Annotations[metricsapi.PartialAnnotation])
	}
	o.formed(list, list.Items)
}

func (o responder) item(item metricsapi.TrafficMetrics) {
	if partial := item.Annotations[metricsapi.PartialAnnotation]; partial != "" {
		warn(o.w, "partial: "+partial)
	}
	o.formed(item, []metricsapi.TrafficMetrics{item})
}

func (o responder) formed(whole any, items []metricsapi.TrafficMetrics) {
	switch accepted(o.r.Header.Get("Accept")) {
	case formTable:
		include := metav1.IncludeObjectPolicy(o.r.URL.Query().Get("includeObject"))
		table, err := tableOf(items, include)
		if err != nil {
			o.fail(apierrors.NewBadRequest(err.Error()))
			return
		}
		o.write(http.StatusOK, table)
	case formJSON:
		o.write(http.StatusOK, whole)
	default:
		o.notAcceptable()
	}
}

func (o responder) write(code int, what any) {
	text, err := json.Marshal(what)
	if err != nil { // a value that JSON has no form for: never by what sources send
		code, text = http.StatusInternalServerError, []byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"InternalError","code":500,"message":"the answer cannot be written as JSON"}`)
	}
	o.w.Header().Set("Content-Type", "application/json")
	o.w.Header().Set("Cache-Control", "no-store")
	o.w.Header().Set("Content-Length", strconv.Itoa(len(text)+1))
	o.w.WriteHeader(code)
	_, _ = o.w.Write(append(text, '\n')) // who went away asks again
}
