package metadata

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
)

// requestBytes is how long the body of a request may be that is passed on: a password that an instance has made.
const requestBytes = 64 << 10

// A Forward is a metadata service elsewhere, such as Nova's.
type Forward struct {
	URL       *url.URL
	Secret    string            // signs the instance's ID, as metadata_proxy_shared_secret does; empty: signs nothing
	Transport http.RoundTripper // the way to the service, with its time limits
	Log       *slog.Logger
}

// Handler passes requests on, with the headers that Neutron's metadata agent adds: X-Forwarded-For (the address of the
// instance), X-Instance-ID, X-Tenant-ID, and X-Instance-ID-Signature (HMAC-SHA-256 of the ID, in hexadecimal).
// X-Project-ID is the tenant under its present name. An instance cannot set them itself. Several goroutines may use the
// handler.
func (f *Forward) Handler(find Find) http.Handler {
	return asking(find, func(w http.ResponseWriter, r *http.Request, in Instance) {
		proxy := httputil.ReverseProxy{
			Transport: f.Transport,
			Rewrite: func(p *httputil.ProxyRequest) {
				p.SetURL(f.URL)
				h := p.Out.Header
				for _, name := range [...]string{"X-Instance-ID-Signature", "X-Metadata-Provider",
					"X-Metadata-Provider-Signature"} {
					h.Del(name)
				}
				h.Set("X-Forwarded-For", in.Address.String())
				h.Set("X-Instance-ID", in.ID)
				h.Set("X-Tenant-ID", in.Project)
				h.Set("X-Project-ID", in.Project)
				if f.Secret != "" {
					h.Set("X-Instance-ID-Signature", sign(f.Secret, in.ID))
				}
			},
			ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
				f.Log.Warn("the metadata service does not answer",
					"url", f.URL.Redacted(), "instance", in.ID, "err", err)
				refuse(w, http.StatusBadGateway, "the metadata service does not answer")
			},
		}
		r.Body = http.MaxBytesReader(w, r.Body, requestBytes)
		proxy.ServeHTTP(w, r)
	})
}

func sign(secret, id string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(id))
	return hex.EncodeToString(m.Sum(nil))
}
