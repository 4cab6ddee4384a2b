package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/accounts"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// A service looks accounts up by the name of a tenant. Here a map of simulated accounts is the database.
func Example() {
	tenants := map[string]*wechatusertest.Server{
		"tea": wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(7),
			wechatusertest.WithAccount("wxTEA", "secret-of-tea")),
		"books": wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithFans(3),
			wechatusertest.WithAccount("wxBOOKS", "secret-of-books")),
	}
	lookup := func(_ context.Context, tenant string) (accounts.Account, error) {
		row, ok := tenants[tenant]
		if !ok {
			return accounts.Account{}, accounts.ErrUnknownAccount
		}
		return accounts.Account{
			AppID: row.AppID, Secret: row.Secret,
			Options: []wechatuser.Option{wechatuser.WithTransport(row.Transport())},
		}, nil
	}
	registry, err := accounts.New(lookup, accounts.WithMaxAge(5*time.Minute))
	if err != nil {
		fmt.Println(err)
		return
	}

	ctx := context.Background()
	for _, tenant := range []string{"tea", "books", "coffee"} {
		client, err := registry.Client(ctx, tenant)
		if errors.Is(err, accounts.ErrUnknownAccount) {
			fmt.Println("there is no", tenant)
			continue
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		page, err := client.GetFans(ctx, "")
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(client.AppID(), page.Total)
	}
	// Output:
	// wxTEA 7
	// wxBOOKS 3
	// there is no coffee
}
