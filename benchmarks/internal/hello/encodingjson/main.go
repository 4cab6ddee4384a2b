// Command encodingjson makes a call with net/http and encoding/json. Only its size is measured.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
)

func main() {
	resp, err := http.Get("http://127.0.0.1:8080/cgi-bin/user/info")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer resp.Body.Close()
	var user struct {
		OpenID string `json:"openid"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&user); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(user.OpenID)
}
