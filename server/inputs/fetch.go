package inputs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// Fetcher gets pictures from the web, and from nowhere else: the address that a
// connection is made to is checked when it is made, after names are resolved, so
// that neither DNS nor redirects lead to this machine or the networks behind it.
type Fetcher struct {
	client http.Client
	max    int64
}

// Bounds of fetching.
const (
	fetchTime    = 10 * time.Second
	maxRedirects = 3
	maxFetched   = 32 << 20 // bytes
)

// errInside is the error of an address that is not public.
var errInside = errors.New("only public addresses are fetched")

// NewFetcher makes a fetcher. allow, if not nil, allows addresses that are not public,
// for tests.
func NewFetcher(allow func(netip.AddrPort) bool) *Fetcher {
	dialer := &net.Dialer{Timeout: fetchTime, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return errInside
		}
		if !Public(at.Addr()) && (allow == nil || !allow(at)) {
			return errInside
		}
		return nil
	}}
	f := &Fetcher{max: maxFetched}
	f.client = http.Client{
		Timeout: fetchTime,
		Transport: &http.Transport{ // without a proxy, which would connect for us
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    fetchTime,
			ResponseHeaderTimeout:  fetchTime,
			MaxResponseHeaderBytes: 64 << 10,
			DisableKeepAlives:      true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("more than %d redirects", maxRedirects)
			}
			r.Header.Del("Referer")
			return checkURL(r.URL)
		},
	}
	return f
}

// checkURL checks what can be checked before a name is resolved.
func checkURL(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("must be an http or https address")
	case u.User != nil:
		return errors.New("must be an address without a user and a password")
	case u.Hostname() == "":
		return errors.New("must be an address with a host")
	}
	return nil
}

// Fetch gets a file. Errors say nothing of what a name resolves to.
func (f *Fetcher) Fetch(ctx context.Context, address string) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("not an address")
	}
	if err := checkURL(u); err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, errors.New("not an address")
	}
	r.Header.Set("Accept", "image/png, image/jpeg, image/webp, image/gif")
	reply, err := f.client.Do(r)
	if errors.Is(err, errInside) {
		return nil, errInside
	}
	if err != nil {
		return nil, errors.New("the picture cannot be fetched")
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the picture cannot be fetched: status %d", reply.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(reply.Body, f.max+1))
	if err != nil {
		return nil, errors.New("the picture cannot be fetched")
	}
	if int64(len(data)) > f.max {
		return nil, fmt.Errorf("the picture must be at most %d MB", f.max>>20)
	}
	return data, nil
}

// inside are networks that are not public beside those that package netip knows: this
// network, shared address space (RFC 6598), IETF protocol assignments, documentation,
// 6to4's relays, benchmarking, reserved; NAT64, 6to4 and Teredo, which have IPv4 addresses in them.
var inside = prefixes("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "fec0::/10", "5f00::/16")

func prefixes(all ...string) (out []netip.Prefix) {
	for _, p := range all {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// Public reports whether an address is one of the public internet.
func Public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() {
		return false
	}
	for _, p := range inside {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
