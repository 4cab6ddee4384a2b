package wechatuser

import (
	"slices"
	"time"
)

// EndpointAPIs returns the official names in the endpoint table, each once.
func EndpointAPIs() (names []string) {
	for _, ep := range endpoints {
		names = append(names, ep.api)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Endpoint is a row of the endpoint table.
type Endpoint struct {
	API, Title, Method, Path, DocURL string
	Max                              int
	Bulk                             string
	Write, NoAuth                    bool
	Never, CleansUp, Force           bool // retryNever, retryCleanUp, the row of forced refreshes
}

// Endpoints returns all rows of the endpoint table.
func Endpoints() (rows []Endpoint) {
	for id, ep := range endpoints {
		rows = append(rows, Endpoint{
			API: ep.api, Title: ep.title, Method: ep.method, Path: ep.path, DocURL: ep.docURL(), Max: ep.max,
			Bulk:  ep.bulk,
			Write: ep.write, NoAuth: ep.noAuth,
			Never: ep.retry == retryNever, CleansUp: ep.retry == retryCleanUp, Force: endpointID(id) == forcedToken,
		})
	}
	return rows
}

// CurrentToken returns the token that a client has, without fetching one.
func CurrentToken(c *Client) Token {
	if p, ok := c.tokens.(platformProvider); ok {
		return Token(p.cache.Current())
	}
	return Token{}
}

// RefreshLimit returns how long a token refresh may stand still.
func RefreshLimit(c *Client) time.Duration { return c.refreshLimit() }

// BuildVersion returns the version that [Version] has in a program with this build info.
var BuildVersion = buildVersion
