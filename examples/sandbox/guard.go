package main

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard keeps other sites in the browser away from the page: those that post to it, and those whose name was made to
// point at this machine (DNS rebinding).
type guard struct {
	name    string     // host of -addr
	addr    netip.Addr // that was listened on
	exposed bool       // other machines reach it
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

// check says why a request is refused; nil if it is not.
func (g *guard) check(r *http.Request) error {
	if !g.isOurs(r.Host) {
		return errHost
	}
	return g.origins.Check(r)
}

// isOurs reports whether a Host header names this machine. The port is not compared: it may be forwarded.
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
	// Nobody can make an address point elsewhere, so that each will do where all of the machine's are listened on.
	return addr.IsLoopback() || addr.Unmap() == g.addr || g.addr.IsUnspecified()
}

var errHost = errors.New("the page answers to localhost and to the address that it listens on, not to this Host")
