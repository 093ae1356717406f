package outages

import (
	"net/http"
	"os"
	"strings"
	"time"
)

// applicationRole is the argument by which the test's own program is the
// application: a process that can be killed.
const applicationRole = "application"

// answered marks what only the application says.
const answered = "X-Application"

// serveApplication answers everything, and writes down each request that the
// policy should have kept away: the file outlives the process.
func serveApplication(address, intruders string) error {
	file, err := os.OpenFile(intruders, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	server := &http.Server{Addr: address, ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, deniedPath) {
			if _, err := file.WriteString(time.Now().Format(time.RFC3339Nano) + " " + r.URL.Path + "\n"); err != nil {
				panic(err) // or an intruder would go unseen
			}
		}
		w.Header().Set(answered, "yes")
	})}
	return server.ListenAndServe()
}
