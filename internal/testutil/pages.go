package testutil

import "encoding/json"

// RespondPage returns a reply with a page of openids.
func RespondPage(total int, next string, ids ...string) Reply {
	page := map[string]any{"total": total, "count": len(ids), "next_openid": next}
	if len(ids) > 0 {
		page["data"] = map[string]any{"openid": ids}
	}
	body, err := json.Marshal(page)
	if err != nil {
		panic(err)
	}
	return RespondJSON(string(body))
}
