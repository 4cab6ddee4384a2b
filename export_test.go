package wechatuser

import "slices"

// EndpointAPIs are the official names in the endpoint table, each once.
func EndpointAPIs() (names []string) {
	for _, ep := range endpoints {
		names = append(names, ep.api)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Endpoint is a row of the endpoint table.
type Endpoint struct {
	API, Path              string
	Write, NoAuth          bool
	Never, ClearsUp, Force bool // repeatNever, repeatCleanUp, the row of forced renewals
}

// Endpoints are all rows of the endpoint table.
func Endpoints() (rows []Endpoint) {
	for id, ep := range endpoints {
		rows = append(rows, Endpoint{
			API: ep.api, Path: ep.path, Write: ep.write, NoAuth: ep.noAuth,
			Never: ep.repeat == repeatNever, ClearsUp: ep.repeat == repeatCleanUp, Force: endpointID(id) == forcedToken,
		})
	}
	return rows
}

// CurrentToken is the token that a client has, without asking for one.
func CurrentToken(c *Client) Token {
	if own, ok := c.tokens.(*ownTokens); ok {
		if t := own.current.Load(); t != nil {
			return t.Token
		}
	}
	return Token{}
}
