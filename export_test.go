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
