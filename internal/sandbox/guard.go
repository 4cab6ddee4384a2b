package sandbox

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard protects the page from other sites in the browser: from cross-site posts, and from sites whose name resolves to
// this machine (DNS rebinding).
type guard struct {
	name    string     // host of -addr
	addr    netip.Addr // of the listener
	exposed bool       // not a loopback address
	origins *http.CrossOriginProtection
}

func newGuard(addr string, listening net.Addr) *guard {
	g := &guard{origins: http.NewCrossOriginProtection()}
	g.name, _, _ = net.SplitHostPort(addr)
	if tcp, ok := listening.(*net.TCPAddr); ok {
		g.addr = tcp.AddrPort().Addr().Unmap()
	}
	g.exposed = !g.addr.IsLoopback()
	return g
}

// check returns an error if the request must be rejected.
func (g *guard) check(r *http.Request) error {
	if !g.isOurs(r.Host) {
		return errHost
	}
	return g.origins.Check(r)
}

// isOurs reports whether a Host header names this machine. It ignores the port, which may be forwarded.
func (g *guard) isOurs(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") || g.name != "" && strings.EqualFold(host, g.name) {
		return true
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	// An IP address cannot be rebound, so any of them is accepted if the listener uses all addresses of the machine.
	return addr.IsLoopback() || addr.Unmap() == g.addr || g.addr.IsUnspecified()
}

var errHost = say("the page accepts only localhost and its listen address as Host",
	"Host 只能是 localhost 或监听地址")
